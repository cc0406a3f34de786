"""When something is made without being asked for."""

from typing import Any

import dagster as dg


def on_changed_data_or_code(
    optional: dg.AssetSelection | None = None, *, with_all_inputs: bool = True
) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition "my inputs' content or my own code changed".

    Dagster's `eager` runs after every materialization of an input, also one with equal content, and
    never for changed code.

    Parameters
    ----------
    optional
        Inputs that need not be there; their checks hold nothing back.
    with_all_inputs
        Wait until every other input exists. What looks at all runs takes those that are there: one
        input is enough.
    """
    condition: Any = dg.AutomationCondition  # its own annotations do not fit together
    # An input that was made in one run with this asset has been taken into account already.
    new_input = condition.any_deps_match(
        condition.data_version_changed() & ~condition.executed_with_root_target()
    ).with_label("content of an input changed")
    trigger = condition.newly_missing() | condition.code_version_changed() | new_input
    missing = condition.any_deps_missing()
    accepted = condition.all_deps_blocking_checks_passed()
    if optional is not None:
        missing, accepted = missing.ignore(optional), accepted.ignore(optional)
    inputs = (
        ~missing
        if with_all_inputs
        else condition.any_deps_match(~condition.missing()).with_label("some input exists")
    )
    combined: dg.AutomationCondition[dg.AssetKey] = (
        condition.in_latest_time_window()
        & trigger.since_last_handled()
        & inputs
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
        & accepted
    ).with_label("changed data or code")
    return combined
