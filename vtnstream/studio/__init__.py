"""The studio: a local web server to look at results, correct them and train on the corrections.

``results`` finds and describes results, ``correcting`` keeps what a person changed, ``jobs`` runs
models and training, and ``web`` serves it all with the pages in ``static``.
"""
