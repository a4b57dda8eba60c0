"""Workers of a batch.

A :class:`~vtnstream.batch.workers.pool.Pool` runs tasks in local processes
(:mod:`~vtnstream.batch.workers.local`) or Ray actors (:mod:`~vtnstream.batch.workers.cluster`). In
each worker, an :class:`~vtnstream.batch.workers.executor.Executor` processes one video after the
other and returns an :class:`~vtnstream.batch.workers.outcome.Outcome`.
"""
