"""The story of Charter, played for real on a throw-away instance."""
