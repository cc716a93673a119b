"""What the endpoints and ./dev bench have to agree on; imports nothing."""

LOGIN = "bench"
PASSWORD = "bench-password-of-a-throw-away-database"
TOKEN = "bench-token-of-a-throw-away-database"
CONTACTS = 10_000
TAGS = 20
