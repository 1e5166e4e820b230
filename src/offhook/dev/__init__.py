"""`offhook dev`: a server, a tunnel to it, and a number that leads there while it runs."""
