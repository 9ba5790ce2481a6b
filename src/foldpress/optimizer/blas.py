"""One thread for linear algebra.

Products of a few hundred rows are done before several threads have shared them out, and those that wait spin: with two
threads on a busy machine of two cores, GPTQ on ResNet-20 takes four times the CPU time that it takes with one.
"""

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def one_thread() -> AbstractContextManager[object]:
    """A context in which numpy computes on one thread."""
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
