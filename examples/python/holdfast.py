"""A client of holdfast's locks in Python, on redis-py. It keeps the rules of docs/protocol.md, "Writing a client".

    locks = Locks(redis.Redis())
    with locks.acquire("invoice:42", ttl=30, timeout=5) as lock:
        locks.write(lock, "HSET", "invoice:42", "total", 100)   # refused if a later holder has written
        if lock.lost.is_set(): ...

It waits in the same queue as every other client and is notified by push. Leases renew in the background. Times are in
seconds, as usual in Python.
"""

import base64
import itertools
import os
import pathlib
import random
import threading
import time

import redis

LUA = pathlib.Path(__file__).parent / "../../lua"  # in a project: node_modules/holdfast/lua
POKE_INTERVAL = 5.0  # how often a waiter asks although no push came
DEAF_POKE = 0.25  # the same while pushes cannot arrive
FOREIGN_POKE = 0.05  # behind another library's lock, whose release nobody announces
FRONT = 4  # those so close to the head of the queue look when the holder's lease ends


class LockTimeout(Exception):
    """The lock was not granted in time. The request has left the queue."""


class LockError(Exception):
    """The lock cannot be had: the name is a semaphore's, or the server says so."""


class Stale(Exception):
    """A later holder has written already."""


class Lock:
    """A held lock. `lost` is set when the lease has ended against your will: stop the work it protects."""

    def __init__(self, locks, name, token, ttl, fence, sent):
        self.name, self.token, self.fence, self.ttl = name, token, fence, ttl
        self.lost = threading.Event()
        self._locks, self._ended = locks, threading.Event()
        self._deadline = _deadline(sent, ttl)
        locks._held[token] = self
        threading.Thread(target=self._keep, daemon=True).start()

    @property
    def held(self):
        return not self.lost.is_set() and not self._ended.is_set() and time.monotonic() < self._deadline

    def release(self):
        """True if the lock was held until now. It never raises: an unheard release ends with the ttl."""
        was_held = self.held
        self._ended.set()
        self._locks._held.pop(self.token, None)
        self._locks._leave(self.name, self.token, self.ttl)
        return was_held

    def _keep(self):
        """Renew at a third of the ttl, and again every twelfth while that fails; end at the deadline."""
        wait = self.ttl / 3
        while not self._ended.wait(max(0, min(wait, self._deadline - time.monotonic()))):
            if time.monotonic() >= self._deadline:
                return self._lose()
            sent = time.monotonic()
            try:
                extended = self._locks._extend(self)
            except redis.RedisError:
                wait = self.ttl / 12
                continue
            if not extended:
                return self._lose()
            self._deadline, wait = _deadline(sent, self.ttl), self.ttl / 3

    def _lose(self):
        self._locks._held.pop(self.token, None)
        self.lost.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


class Locks:
    def __init__(self, client, prefix="lock:"):
        self._redis, self._prefix = client, prefix
        self._id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        self._counter = itertools.count()
        self._scripts = {name: client.register_script((LUA / f"{name}.lua").read_text())
                         for name in ("acquire", "extend", "release", "guard")}
        self._held, self._waiters = {}, {}
        # Listen first: a grant may be pushed as soon as a request waits.
        self._listens = threading.Event()
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(f"{prefix}push:{self._id}")
        self._closed = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def acquire(self, name, ttl=30.0, timeout=None):
        """Wait in the queue, for `timeout` seconds at most, and hold the lock for as long as this process renews it."""
        token = f"{self._id}:{next(self._counter)}"
        give_up = None if timeout is None else time.monotonic() + timeout
        self._waiters[token] = push = _Push()
        try:
            lock = self._wait(name, token, ttl, give_up, push)
        except BaseException:
            self._leave(name, token, ttl)
            raise
        finally:
            del self._waiters[token]
        return lock

    def try_acquire(self, name, ttl=30.0):
        """The lock if it is free and nobody waits for it, else None."""
        token, sent = f"{self._id}:{next(self._counter)}", time.monotonic()
        answer = self._ask(name, token, ttl, "0", "")
        fence = _fence(answer)
        return Lock(self, name, token, ttl, fence, sent) if fence else None

    def write(self, lock, command, key, *arguments):
        """Run a command that writes one key, unless a later holder has written it: the guard of `holdfast/fence`."""
        words = b"".join(b"%d:%s" % (len(each), each) for each in map(_encode, (command, *arguments)))
        base = key if "{" in key else "{%s}" % key
        [(how, reply)] = self._scripts["guard"]([key, f"{base}:guard"], [lock.fence, lock.token, 86_400_000, words])
        if how == 0:
            raise Stale(f"{key} was written under fence {int(reply)}; {lock.name} was granted with {lock.fence}")
        if how == 2:
            raise redis.ResponseError(reply.decode())
        return reply

    def close(self):
        for lock in list(self._held.values()):
            lock.release()
        self._closed.set()
        self._listener.join()
        self._pubsub.close()

    def _wait(self, name, token, ttl, give_up, push):
        ticket = ""
        while True:
            push.clear()
            sent = time.monotonic()
            answer = self._ask(name, token, ttl, "2" if self._listens.is_set() else "1", ticket)
            fence = _fence(answer)
            if fence:
                return Lock(self, name, token, ttl, fence, sent)
            if answer[0] == b"again":
                continue
            ticket, rank, left, foreign, _, _, unfinished = answer
            if unfinished:
                continue
            wait = POKE_INTERVAL * random.uniform(0.9, 1.1) if self._listens.is_set() else DEAF_POKE
            if rank == 0 and foreign:
                wait = FOREIGN_POKE
            if rank < FRONT and left >= 0:
                wait = min(wait, left / 1000 + 0.002 + 0.005 * rank)
            if give_up is not None and not push.wait(wait, give_up):
                raise LockTimeout(f"{name} was not granted in time")
            if give_up is None:
                push.wait(wait)

    def _ask(self, name, token, ttl, wait, ticket):
        keys = self._keys(name)
        arguments = ["PUBLISH", f"{self._prefix}push:", token, "exclusive", _ms(ttl), wait, ticket, 1, 1, 0, "", ""]
        [answer] = self._scripts["acquire"]([f"{self._prefix}:fence", *keys], arguments)
        if isinstance(answer, list) and answer[0] in (b"ERR", b"mismatch", b"full"):
            raise LockError(f"{name}: {b' '.join(map(_encode, answer)).decode()}")
        return answer

    def _extend(self, lock):
        [answer] = self._scripts["extend"](self._keys(lock.name)[:2], [lock.token, lock.fence, _ms(lock.ttl)])
        return answer == 1

    def _leave(self, name, token, ttl):
        """The server forgets the token, whether it holds, waits or neither. Tried until it was heard or has ended."""
        end = time.monotonic() + ttl
        while True:
            try:
                arguments = ["PUBLISH", f"{self._prefix}push:", token]
                self._scripts["release"]([f"{self._prefix}:fence", *self._keys(name)], arguments)
                return
            except redis.ConnectionError:
                if time.monotonic() > end:
                    return
                time.sleep(0.1)

    def _keys(self, name):
        """For names without braces; docs/protocol.md, "Names", has the rest."""
        key = self._prefix + name
        return [key, *(f"{{{key}}}:{part}" for part in ("holders", "queue", "waiters"))]

    def _listen(self):
        while not self._closed.is_set():
            try:
                message = self._pubsub.get_message(timeout=0.2)
            except redis.RedisError:
                # What was pushed meanwhile is lost: all who wait ask again, more often until this is up again.
                self._listens.clear()
                self._wake(*self._waiters)
                time.sleep(0.1)
                continue
            if message and message["type"] == "subscribe":
                self._listens.set()
            elif message and message["type"] == "message":
                self._hear(message["data"].decode())

    def _hear(self, text):
        what, number, _, _, token, _ = text.split(" ", 5)
        if what == "granted":
            self._wake(token)  # it claims at once: the grant lasts a second
        elif what == "next" and token in self._waiters:
            self._waiters[token].at(time.monotonic() + int(number) / 1000 + 0.002)
        elif what == "lost" and token in self._held:
            self._held[token]._ended.set()
            self._held[token]._lose()

    def _wake(self, *tokens):
        for token in tokens:
            push = self._waiters.get(token)
            if push:
                push.at(0)


class _Push:
    """What a waiter sleeps on: until it is woken, or until the earliest time that it was given."""

    def __init__(self):
        self._changed, self._when = threading.Condition(), None

    def clear(self):
        with self._changed:
            self._when = None

    def at(self, when):
        with self._changed:
            self._when = when if self._when is None else min(self._when, when)
            self._changed.notify()

    def wait(self, seconds, give_up=None):
        """False once it is time to give up."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                now = time.monotonic()
                if give_up is not None and now >= give_up:
                    return False
                left = min(each for each in (end, self._when, give_up) if each is not None) - now
                if left <= 0:
                    return True
                self._changed.wait(left)


def _fence(answer):
    if isinstance(answer, list):
        return int(answer[1]) if answer[0] == b"holding" else None
    return int(answer) or None


def _deadline(sent, ttl):
    return sent + ttl * 0.99 - 0.002


def _ms(seconds):
    return max(1, round(seconds * 1000))


def _encode(value):
    return value if isinstance(value, bytes) else str(value).encode()
