"""What private data may leave: its policies are asked, a person among them; who waits is answered then.

A get or a move that waits parks nothing but itself: the answer is owed, and the program goes on.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Union

import anyio.to_thread

from .. import program, tensor
from ..errors import Cancelled, LimitExceeded, Refused, RemoteError
from ..identity import fingerprint
from ..privacy import Asked, Private, public
from ..privacy.policy import refusal
from ..program import Step
from ..protocol import Conversation
from ..tensor import Array
from ..wire import Failure
from .job import Job, raw_op

if TYPE_CHECKING:
    from .lanes import Executor

logger = logging.getLogger(__name__)

#: Requests of one peer that wait to be decided, and characters of a person's reason.
MAX_WAITING, MAX_WHY = 32, 200

ENDED = "the worker ended before it was decided"

#: Told what became of a request: the array, or why not.
Give = Callable[[Union[Array, Failure]], None]


class Wish:
    """That a private value leave: who wants it, and where the answer goes. ``since`` is in seconds since 1970."""

    def __init__(self, job: Job, step: int, what: str, value: Private, give: Give) -> None:
        self.job, self.step, self.what, self.value, self.give = job, step, what, value, give
        self.since = time.time()
        self.number = 0
        #: Whether it is still open: not cancelled, nor answered.
        self.is_open = True

    def asked(self, label: str) -> Asked:
        """What the policy of one label is asked."""
        talk, guard = self.job.conversation, self.value.guard
        array = self.value.array.view()
        array.flags.writeable = False
        count = guard.count(label)
        sealed = talk.seal is not None
        return Asked(talk.name, talk.key, self.what, label, guard.labels, guard.how, count, array, sealed)

    def describe(self) -> Dict[str, Any]:
        """For the person who decides: plain values, and not the data."""
        value, guard, talk = self.value, self.value.guard, self.job.conversation
        return {
            "id": self.number,
            "who": talk.name,
            "key": fingerprint(talk.key) if talk.their_can.get("lasting") is True else "",
            "sealed": talk.seal is not None,
            "what": self.what,
            "since": self.since,
            "labels": sorted(guard.labels),
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "nbytes": value.array.nbytes,
            "rows": {label: guard.count(label) for label in sorted(guard.labels)},
            "how": list(guard.how),
        }


class Releases:
    """The wishes of all drivers of one worker; ``waiting`` are those that a person decides, by number."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.waiting: Dict[int, Wish] = {}
        self._judged: List[Wish] = []  # whose owner's function is being asked
        self._last = 0
        self._is_closing = False

    # What is asked.

    def get(self, job: Job, step: Step, value: Private) -> None:
        """Answer a get with a private value, now or later, or fail it."""
        index = job.index

        def give(outcome: Union[Array, Failure]) -> None:
            if not isinstance(outcome, Failure):
                job.values.append((index, outcome))
                job.released |= {index}

        self._ask(Wish(job, index, program.GET, value, give))

    def move(self, job: Job, step: Step, value: Private) -> None:
        """Offer a private value to another worker, now or later; it learns of a refusal too. Raises: Refused."""
        moves, params = self._executor.moves, step.params

        def give(outcome: Union[Array, Failure]) -> None:
            try:
                moves.offer(job, outcome, params)
            except Refused as error:
                if not isinstance(outcome, Failure):
                    job.fail(wish.step, error, program.MOVE, ())

        wish = Wish(job, job.index, program.MOVE, value, give)
        moves.check(params)
        self._ask(wish)

    def _ask(self, wish: Wish) -> None:
        job, guard, store = wish.job, wish.value.guard, self._executor.store
        policies = {label: store.policy(label) for label in sorted(guard.labels)}
        waits = any(policy.asks for policy in policies.values())
        job.outstanding += 1
        mine = [other for other in self._open() if other.job.conversation is job.conversation]
        if len(mine) >= MAX_WAITING:
            self._fail(wish, LimitExceeded(f"{MAX_WAITING} requests of yours wait for their release already"))
            return
        for label, policy in policies.items():
            if not policy.slow:
                asked = wish.asked(label)
                why = policy.refuses(asked, guard)
                if why is not None:
                    self._refuse(wish, refusal(asked, policy, why))
                    return
        slow = [label for label, policy in policies.items() if policy.slow]
        if slow:
            assert self._executor.tasks is not None
            self._judged.append(wish)
            self._executor.tasks.start_soon(self._judge, wish, slow, waits)
        else:
            self._judged_well(wish, waits)

    async def _judge(self, wish: Wish, labels: List[str], waits: bool) -> None:
        store, guard = self._executor.store, wish.value.guard
        refused: Optional[str] = None
        for label in labels:
            asked, policy = wish.asked(label), store.policy(label)
            try:
                why = await anyio.to_thread.run_sync(partial(policy.refuses, asked, guard))
            except (Exception, SystemExit) as error:
                logger.exception("the policy %s of %s failed, which is a no", policy.text, label)
                why = f"its owner's function failed ({type(error).__name__})"
            refused = refusal(asked, policy, why) if why is not None else None
            if refused is not None:
                break
        self._judged.remove(wish)
        if not wish.is_open:
            return
        if refused is not None:
            self._refuse(wish, refused)
        else:
            self._judged_well(wish, waits)

    def _judged_well(self, wish: Wish, waits: bool) -> None:
        if not waits:
            self._release(wish, "released")
            return
        if self._is_closing:
            self._fail(wish, Cancelled(ENDED))
            return
        self._last += 1
        wish.number = self._last
        self.waiting[wish.number] = wish
        wish.job.space.grow(wish.value.nbytes)  # it is held whatever becomes of the object
        self._note(wish, outcome="waits", request=wish.number, careless=True)
        talk, labels = wish.job.conversation, ", ".join(sorted(wish.value.guard.labels))
        logger.warning(
            "%s: %s asks for what is made of %s: request %d waits for approval",
            self._executor.worker, talk.name, labels, wish.number,
        )  # fmt: skip

    # What is decided.

    def approve(self, number: int) -> None:
        """Let go what waits. Raises: KeyError."""
        self._release(self._taken(number), "approved", request=number)

    def deny(self, number: int, why: str = "") -> None:
        """Refuse what waits. Raises: KeyError."""
        wish = self._taken(number)
        reason = f": {why[:MAX_WHY]}" if why else ""
        labels = " and ".join(sorted(wish.value.guard.labels))
        self._refuse(wish, f"it depends on {labels}, which is private there, and was denied{reason}", number)

    def _taken(self, number: int) -> Wish:
        wish = self.waiting.pop(number)
        wish.job.space.grow(-wish.value.nbytes)
        return wish

    def _release(self, wish: Wish, outcome: str, **more: Any) -> None:
        try:
            self._note(wish, outcome=outcome, decided=True, **more)
        except OSError:
            self._refuse(wish, "the worker cannot write its audit log, and releases nothing until it can")
            return
        wish.give(wish.value.array)
        self._answered(wish)

    def _refuse(self, wish: Wish, why: str, request: int = 0) -> None:
        more = {"request": request} if request else {}
        self._note(wish, outcome="refused", decided=True, why=why, careless=True, **more)
        self._fail(wish, Refused(why))

    def _fail(self, wish: Wish, error: RemoteError) -> None:
        wish.give(wish.job.fail(wish.step, error, wish.what, ()))
        self._answered(wish)

    def _answered(self, wish: Wish) -> None:
        wish.is_open = False
        self._executor.answered_later(wish.job)

    # What is withdrawn.

    def cancel(self, job: Job, step: int) -> None:
        """A step that may be a wish was cancelled."""
        for wish in [wish for wish in self._open() if wish.job is job and wish.step == step]:
            self._withdraw(wish)
            self._fail(wish, Cancelled("cancelled while it waited for its release"))

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over: nobody waits for its wishes any more."""
        for wish in [wish for wish in self._open() if wish.job.conversation is conversation]:
            self._withdraw(wish)
            wish.is_open = False

    def close(self) -> None:
        """The worker ends: what waits, and what would, is not decided."""
        self._is_closing = True
        for wish in self._open():
            self._withdraw(wish)
            self._fail(wish, Cancelled(ENDED))

    def _open(self) -> List[Wish]:
        return [*self.waiting.values(), *[wish for wish in self._judged if wish.is_open]]

    def _withdraw(self, wish: Wish) -> None:
        if self.waiting.get(wish.number) is wish:
            self._taken(wish.number)
            logger.info("%s: request %d was withdrawn", self._executor.worker, wish.number)
            self._note(wish, outcome="withdrawn", request=wish.number, careless=True)

    # What is written down.

    def note_gets(self, job: Job) -> None:
        """Write down what is about to be answered of what is not private."""
        for step, value in job.values:
            if raw_op(job.steps[step]) == program.GET and step not in job.released:
                self.note(job, step, program.GET, value, outcome="given", careless=True)

    def _note(self, wish: Wish, **more: Any) -> None:
        self.note(wish.job, wish.step, wish.what, wish.value, **more)

    def note(self, job: Job, step: int, what: str, value: Any = None, *, careless: bool = False, **more: Any) -> None:
        """Write a line of the audit log, if there is one; ``careless``: go on without. Raises: OSError."""
        audit = self._executor.audit
        if audit is None:
            return
        talk = job.conversation
        who: Dict[str, Any] = {"who": talk.name, "key": fingerprint(talk.key) if talk.key else None}
        where: Dict[str, Any] = {"incarnation": talk.theirs.hex(), "id": job.served.id, "step": step, "what": what}
        about: Dict[str, Any] = {}
        if value is not None:
            labels = sorted(value.guard.labels) if isinstance(value, Private) else []
            descr = tensor.descriptor(value.dtype)
            about = {"labels": labels, "dtype": descr, "shape": list(value.shape), "nbytes": public(value).nbytes}
        about.update(more)
        try:
            audit.note(**who, **where, **about)
        except OSError as error:
            logger.error("the audit log cannot be written: %s", error)
            if not careless:
                raise
