"""The ways out: mail over SMTP, and requests to webhooks."""
