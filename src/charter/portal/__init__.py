"""The portal: Charter for people in a browser, a thin face over the services.

Every page is made on the server and works without JavaScript; htmx only makes it quicker (live
tables, the previewed decision, dialogs). Nothing here decides: pages show what services answer.
"""
