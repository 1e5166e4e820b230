"""Pages that are made from the code, one module for each that is long. See write_pages.py."""
