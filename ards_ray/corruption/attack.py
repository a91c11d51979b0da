"""Which attack applies to a conversation, and what its text becomes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ards_ray.arrays.seeds import generator
from ards_ray.config import AttackSettings, Settings
from ards_ray.corpus.choice import Choice, parse_choice
from ards_ray.corpus.conversation import Conversation, Round
from ards_ray.corpus.options import fixed_places, naming_others
from ards_ray.corpus.table import conversation_of
from ards_ray.corruption.permutation import order_total, other_orders
from ards_ray.errors import ConversationError

Attack = Literal["symbol+permutation", "symbol", "permutation", "noise"]


@dataclass(frozen=True)
class Corruption:
    """What is done to a conversation.

    Attributes:
        attack: Its name, as in the column `corruption`.
        versions: The corrupted rounds, one or several candidates; the rounds as they are under noise.
    """

    attack: Attack
    versions: tuple[tuple[Round, ...], ...]


def corrupt(conversation: Conversation, attacks: AttackSettings, seed: int) -> Corruption | None:
    """The corruption of a conversation, or None where nothing is corrupted.

    Multiple choice is attacked in its text, in every round that is multiple choice, each with an order of its own;
    other conversations with an image are attacked by noise on it. A round with an option that names others by letter
    is left as it is, since it would lose its sense. An option that speaks of others by place stays, and no other passes
    it.
    """
    if conversation.format == "choice":
        parsed = [parse_choice(round.question, round.answer) for round in conversation.rounds]
        choices = [choice if choice and _can_be_attacked(choice, attacks) else None for choice in parsed]
        if any(choices):
            return _corrupt_choices(conversation, choices, attacks, seed)
    if conversation.images and attacks.noise:
        return Corruption("noise", (conversation.rounds,))
    return None


def attack_on(entry: Mapping[str, Any], settings: Settings) -> str | None:
    """The attack that applies to a row of the conversations; None where there is none, or it cannot be scored."""
    try:
        corruption = corrupt(conversation_of(entry), settings.attacks, settings.seed)
    except ConversationError:
        return None
    return corruption.attack if corruption else None


def _can_be_attacked(choice: Choice, attacks: AttackSettings) -> bool:
    if naming_others(choice.options) is not None:
        return False
    is_stuck = order_total(len(choice.options), fixed_places(choice.options)) == 1
    return not (is_stuck and attacks.permutation) or _gets_symbols(choice, attacks)


def _gets_symbols(choice: Choice, attacks: AttackSettings) -> bool:
    return attacks.symbol and len(choice.options) <= len(attacks.symbols)


def _corrupt_choices(
    conversation: Conversation, choices: list[Choice | None], attacks: AttackSettings, seed: int
) -> Corruption | None:
    content = json.dumps([[round.question, round.answer] for round in conversation.rounds]).encode()
    candidates: list[list[Choice] | None] = []
    symbols_used = permuted = False
    for index, choice in enumerate(choices):
        if choice is None:
            candidates.append(None)
            continue
        versions = [choice]
        if attacks.permutation:
            random = generator(seed, f"permutation/{index}", content)
            orders = other_orders(len(choice.options), attacks.permutations, random, fixed_places(choice.options))
            if index:
                # All orders come in the same sequence for every round: each round but the first takes its own.
                orders = [orders[place] for place in random.permutation(len(orders))]
            versions = [choice.permuted(order) for order in orders] or versions
            permuted = permuted or bool(orders)
        if _gets_symbols(choice, attacks):
            versions = [version.with_symbols(attacks.symbols) for version in versions]
            symbols_used = True
        candidates.append(versions)
    names = [name for name, used in (("symbol", symbols_used), ("permutation", permuted)) if used]
    if not names:
        return None
    count = max(len(versions) for versions in candidates if versions)
    rounds = tuple(
        tuple(
            Round(versions[number % len(versions)].question, versions[number % len(versions)].answer)
            if versions
            else round
            for round, versions in zip(conversation.rounds, candidates, strict=True)
        )
        for number in range(count)
    )
    return Corruption("+".join(names), rounds)  # type: ignore[arg-type]
