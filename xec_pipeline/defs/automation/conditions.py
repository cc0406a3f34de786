"""When something is made without being asked for."""

from typing import Any

import dagster as dg


def on_changed_data_or_code(
    optional: dg.AssetSelection | None = None,
    *,
    with_all_inputs: bool = True,
    waits_for_optional: bool = True,
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
    waits_for_optional
        Wait while an optional input is being made, as its content will be shown.
    """
    condition: Any = dg.AutomationCondition  # its own annotations do not fit together
    missing = condition.any_deps_missing()
    accepted = condition.all_deps_blocking_checks_passed()
    in_progress = condition.any_deps_in_progress()
    if optional is not None:
        missing, accepted = missing.ignore(optional), accepted.ignore(optional)
        if not waits_for_optional:
            in_progress = in_progress.ignore(optional)
    inputs = (
        ~missing
        if with_all_inputs
        else condition.any_deps_match(~condition.missing()).with_label("some input exists")
    )
    combined: dg.AutomationCondition[dg.AssetKey] = (
        condition.in_latest_time_window()
        & (_never_made() | _changed())
        & inputs
        & ~in_progress
        & ~condition.in_progress()
        & accepted
    ).with_label("changed data or code")
    return combined


def _never_made() -> Any:
    """Return "I am missing"; also what was missing when the sensor looked for the first time."""
    condition: Any = dg.AutomationCondition
    asked = condition.newly_requested() | condition.newly_updated()
    return condition.newly_missing().since(asked).with_label("never made")


def _changed() -> Any:
    """Return "my inputs or my code are not those that I was made from".

    A run that ends after a change may have begun before it, and show what was there then. So the
    end of a run settles only what that run made itself; a request settles all that came before it.
    The price: what was made by hand after a change is made once more, with equal content.
    """
    condition: Any = dg.AutomationCondition
    content = condition.any_deps_match(condition.data_version_changed())
    # Also an input made in one run with this asset, which then failed: its success would settle it.
    together = content.since_last_handled().with_label("content of an input changed")
    apart = condition.any_deps_match(
        condition.data_version_changed() & ~condition.executed_with_root_target()
    )
    news = (apart | condition.code_version_changed()).with_label("news from elsewhere")
    # A request is seen one tick later, together with what came after it.
    return together | news.since(condition.newly_requested() & ~news)
