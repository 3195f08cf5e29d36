"""Extracts from Triton's log what people need to read."""

import re

_MODEL = r"'(?P<model>[^']+)'"
_LOAD_FAILED = re.compile(rf'"failed to load {_MODEL} version \d+: (?P<reason>.*)"$')
_POLL_FAILED = re.compile(rf'"Poll failed for model directory {_MODEL}: (?P<reason>.*)"$')
_ENSEMBLE_FAILED = re.compile(
    r'"(?P<reason>Invalid argument: ensemble \'?(?P<model>[^\' ]+)\'? .*)"$'
)
_LOADED = re.compile(r'"successfully loaded \'(?P<model>[^\']+)\'"')
_NOT_ITS_FAULT = "which has no loaded version"
_FAILURES = (_LOAD_FAILED, _POLL_FAILED, _ENSEMBLE_FAILED)
# Words that Triton puts before a reason, without use to a reader.
_PREFIXES = ("Internal: ", "Invalid argument: ", "TritonModelException: ")
# A TritonModelException only adds the line that raised it; other exceptions need theirs.
_RAISED_AT = re.compile(r"\n\nAt:\n.*", re.DOTALL)


def load_failures(log: str) -> dict[str, str]:
    """The models that failed to load, and why, in the order of the log.

    A model that only failed because another one did is left out, so that only causes remain.
    """
    failures: dict[str, str] = {}
    for line in log.splitlines():
        for pattern in _FAILURES:
            if match := pattern.search(line):
                failures.setdefault(match["model"], _plain(match["reason"]))
    causes = {
        model: reason
        for model, reason in failures.items()
        if not any(f"'{other}' {_NOT_ITS_FAULT}" in reason for other in failures)
    }
    return causes or failures


def loaded_models(log: str) -> list[str]:
    """The models loaded so far, in the order of the log."""
    return list(dict.fromkeys(match["model"] for match in _LOADED.finditer(log)))


def last_error(log: str) -> str:
    """The last line that explains the server's end, for a failure that is no model's fault."""
    lines = [line for line in log.splitlines() if line.startswith(("E", "error:", "F"))]
    return lines[-1] if lines else "the log has no error line"


def _plain(reason: str) -> str:
    reason = reason.replace("\\n", "\n").replace('\\"', '"')
    ours = "TritonModelException: " in reason
    while prefix := next((p for p in _PREFIXES if reason.startswith(p)), None):
        reason = reason[len(prefix) :]
    return (_RAISED_AT.sub("", reason) if ours else reason).strip()
