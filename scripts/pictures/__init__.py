"""Pictures of the documentation, made by `make pictures` into docs/pictures."""
