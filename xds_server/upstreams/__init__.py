"""What a user writes (model, documents) and what it means in Envoy (translate)."""
