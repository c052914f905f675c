"""What sets agents apart from people: the tier they run in and the task they run for."""
