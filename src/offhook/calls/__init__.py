"""Live calls: sessions, admission, control, transfers, texts."""
