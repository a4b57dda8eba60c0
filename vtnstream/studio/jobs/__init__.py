"""The queue of analyses and trainings, and the processes that run them."""
