"""People, their numbers, identity documents, subscriptions and allowances."""
