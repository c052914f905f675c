"""How notices leave the portal: by mail, into chats, to webhooks; and links that carry a vote."""
