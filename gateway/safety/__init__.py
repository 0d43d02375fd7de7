"""What is kept from models, and what is kept of prompts."""
