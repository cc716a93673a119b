"""End code that may run for ever, in any thread and however it catches exceptions.

Signals reach the main thread only, and Odoo works in others. So one watchdog thread per
process raises :class:`_Stop` in the thread that is late (``PyThreadState_SetAsyncExc``).
It is no ``Exception``, hence passes ``except Exception``, and it is raised again until
the code has ended. What it cannot interrupt is one operation inside C, e.g. a huge power.

In the evented server all threads are greenlets of one thread, a busy one would never let
the watchdog run; there a trace function looks at the clock at each instruction instead.
"""

import ctypes
import os
import sys
import threading
import time
from contextlib import contextmanager

TICK = 0.1  # seconds between two looks at the clock
REPEAT = 0.5  # seconds until the exception is raised once more
IDLE_TICKS = 100  # the thread ends after so many ticks without anything to watch


class DeadlineExceeded(Exception):
    """The code was stopped; ``__cause__`` has the traceback of where it was."""


class _Stop(BaseException):
    """Raised inside the code that is late."""


class _Watchdog:
    def __init__(self):
        self.lock = threading.Lock()
        self.ends = {}  # {thread id: moment by time.monotonic()}
        self.raised = set()  # ids of the threads that an exception was sent to
        self.traced = set()  # ids of those that look at the clock themselves
        self.thread = None

    def start(self, ident, seconds):
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(
                    target=self.watch, name="bj.api.deadline", daemon=True
                )
                self.thread.start()
            self.ends[ident] = time.monotonic() + seconds

    def stop(self, ident):
        """Return with nothing running and nothing pending for this thread.

        The exception can arrive on any line here. It is sent under the lock and only to
        threads in ``ends``, so none follows once the entry is gone. One that is pending
        must not be taken back (``NULL``): CPython 3.11 then keeps its flag for
        pending work up for ever, which hangs a traced thread. It is replaced by one that is received here.
        """
        while True:
            try:
                with self.lock:
                    self.ends.pop(ident, None)
                    if ident not in self.raised:
                        return
                    self.raised.discard(ident)
                _raise_in_thread(ident)
                while True:
                    time.sleep(0)
            except _Stop:
                continue

    def watch(self):
        idle = 0
        while True:
            time.sleep(TICK)
            with self.lock:
                idle = 0 if self.ends else idle + 1
                now = time.monotonic()
                for ident, end in self.ends.items():
                    if now >= end and ident not in self.traced:
                        self.ends[ident] = now + REPEAT
                        self.raised.add(ident)
                        _raise_in_thread(ident)
                if idle >= IDLE_TICKS:
                    self.thread = None
                    return


def _raise_in_thread(ident):
    """Raise :class:`_Stop` in a thread as soon as it executes Python code again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(_Stop)
    )


_watchdog = _Watchdog()
# A forked worker has the memory but not the thread, and perhaps a lock that is held.
os.register_at_fork(after_in_child=_watchdog.__init__)


def run(function, seconds, evented=False):
    """Return ``function()``, or raise :class:`DeadlineExceeded` after ``seconds``.

    Inside another run the outer deadline holds for both.
    """
    ident = threading.get_ident()
    if ident in _watchdog.ends:
        return function()
    try:
        try:
            if evented:
                return _run_traced(function, ident, seconds)
            _watchdog.start(ident, seconds)
            return function()
        finally:
            _watchdog.stop(ident)
    except _Stop as stop:
        _watchdog.stop(ident)
        raise DeadlineExceeded(f"stopped after {seconds:g} seconds") from stop


@contextmanager
def paused():
    """Stop the clock of this thread's deadline, if it has one, e.g. while sending."""
    ident = threading.get_ident()
    begin = time.monotonic()
    with _watchdog.lock:
        end = _watchdog.ends.get(ident)
        if end is not None:
            _watchdog.ends[ident] = float("inf")
    try:
        yield
    finally:
        with _watchdog.lock:
            if end is not None and ident in _watchdog.ends:
                _watchdog.ends[ident] = end + time.monotonic() - begin


def _run_traced(function, ident, seconds):
    def trace(frame, event, arg):
        # `while True: pass` is one instruction and has no line events.
        frame.f_trace_opcodes = True
        # Other greenlets may run meanwhile and are traced, too.
        late = time.monotonic() >= _watchdog.ends.get(ident, float("inf"))
        if late and threading.get_ident() == ident:
            raise _Stop
        return trace

    before = sys.gettrace()
    _watchdog.traced.add(ident)
    _watchdog.ends[ident] = time.monotonic() + seconds
    sys.settrace(trace)
    try:
        return function()
    finally:
        sys.settrace(before)
        _watchdog.traced.discard(ident)
