"""Selection of conditions by name: suites, families and single conditions."""

from collections.abc import Sequence
from difflib import get_close_matches

from fastser.evaluation.condition import Condition
from fastser.evaluation.conditions import CONDITIONS, ConditionFamily
from fastser.evaluation.further_conditions import FURTHER, FurtherFamily, RobustnessSettings
from fastser.evaluation.model_error import ModelError
from fastser.settings import Settings

SUITES = ("paper", "quick", "all")
"""Names of the suites that families belong to (`ConditionFamily.suites`)."""


def select(
    names: Sequence[str],
    settings: Settings,
    levels: RobustnessSettings,
    *,
    num_speakers: int,
    with_noise: bool,
    differentiable: bool,
) -> tuple[list[Condition], list[str]]:
    """Return the conditions of a test, in the order of the registry, and a sentence about each group that is left out.

    Args:
        names: Names of suites, families or conditions. Clean speech is always tested.
        settings: Settings that the paper's families expand with.
        levels: Levels of the further families.
        num_speakers: Number of speakers of the corpus.
        with_noise: Whether there are noise recordings.
        differentiable: Whether the model has gradients.

    Raises:
        ModelError: If a name is not known.
    """
    families: list[tuple[ConditionFamily | FurtherFamily, Sequence[Condition]]]
    chosen: list[Condition] = []
    without: dict[str, list[str]] = {"noise": [], "gradient": [], "speakers": []}
    unknown = [name for name in names if name not in SUITES]
    families = [(family, family.expand(settings)) for family in CONDITIONS.values() if "source" in family.tasks]
    families += [(family, family.expand(levels)) for family in FURTHER.values()]
    for family, conditions in families:
        if family.name in names and not conditions:
            raise ModelError(
                f"conditions (--conditions): {family.name} is empty with these settings; docs/conditions.md names the "
                "setting that has its levels"
            )
        whole = family.name in names or any(suite in names for suite in family.suites)
        for condition in conditions:
            unknown = [name for name in unknown if name not in (family.name, condition.name)]
            if not (whole or condition.name in (*names, "clean")):
                continue
            if isinstance(family, ConditionFamily) and family.needs_noise and not with_noise:
                without["noise"].append(condition.name)
            elif family.needs_gradient and not differentiable:
                without["gradient"].append(condition.name)
            elif isinstance(family, FurtherFamily) and num_speakers < family.needs_speakers:
                without["speakers"].append(condition.name)
            elif condition.name not in [earlier.name for earlier in chosen]:
                chosen.append(condition)
    if unknown:
        names_of_families = [family.name for family, _ in families]
        single = [condition.name for _, conditions in families for condition in conditions]
        near = get_close_matches(unknown[0].lower(), [*SUITES, *names_of_families, *single], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise ModelError(
            f"conditions (--conditions): there is no '{unknown[0]}'{hint} Known: "
            f"{', '.join((*SUITES, *names_of_families))} and the single conditions of docs/conditions.md"
        )
    reasons = {
        "noise": "there are no noise recordings",
        "gradient": "a callable on arrays has no gradient",
        "speakers": "the corpus has a single speaker",
    }
    for why, left in without.items():
        if asked := [name for name in names if name in left]:
            raise ModelError(f"condition {asked[0]} cannot be tested: {reasons[why]}")
    return chosen, [f"{', '.join(left)}: not tested, {reasons[why]}" for why, left in without.items() if left]
