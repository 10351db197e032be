"""The JSON API, `/api/v1`: what partners' programs speak. It documents itself (OpenAPI)."""
