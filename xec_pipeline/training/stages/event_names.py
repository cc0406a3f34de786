"""What a person calls an event."""

from collections.abc import Sequence

from xec_pipeline.data.shard_set import ShardSet


def event_names(shards: ShardSet, events: Sequence[int]) -> list[str]:
    """Return run, event number, and place in its file of each event, for messages."""
    columns, sources = shards.columns, shards.manifest.sources
    return [
        f"run {columns['run'][event]} event {columns['event'][event]} "
        f"(entry {columns['entry'][event]} of {sources[columns['source'][event]].source})"
        for event in events
    ]
