"""Where requests go: endpoints and their live state, which of them serves the next attempt, and connections to them."""
