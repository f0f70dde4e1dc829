"""What can be wrong with workers, their monitoring and the rules that watch them."""

from domain.errors import RoundsmanError


class WorkerNotFound(RoundsmanError):
    """There is no worker '{worker_id}'. It may have been removed; list the workers to see which there are."""

    status = 404


class WorkerExists(RoundsmanError):
    """There is a worker '{worker_id}' already. Change that one, or choose another id."""

    status = 409


class WorkerChangedMeanwhile(RoundsmanError):
    """The worker '{worker_id}' was changed by others {tries} times while this change was made. Try again."""

    status = 409


class InvalidWorker(RoundsmanError):
    """The worker is not valid: {why}. Mend that, and send it again."""

    status = 422


class ProviderNotSupported(RoundsmanError):
    """The provider '{provider}' is not supported by this version. Supported: {supported}."""

    status = 422


class NotMonitored(RoundsmanError):
    """The worker '{worker_id}' is not monitored. Start it with PUT /api/v1/workers/{worker_id}/monitoring."""

    status = 404


class InvalidMonitoring(RoundsmanError):
    """The worker '{worker_id}' cannot be monitored as asked: {why}. Mend that, and ask again."""

    status = 422


class InvalidQuery(RoundsmanError):
    """The question cannot be answered: {why}. Mend that, and ask again."""

    status = 422


class InvalidRules(RoundsmanError):
    """The alert rules are not valid: {why}. Give each an id of its own."""

    status = 422


class AlertsChangedMeanwhile(RoundsmanError):
    """The alerts of worker '{worker_id}' were changed by others {tries} times while one step was made. Nothing is
    lost: the next look at it, or the next check, makes the step again."""

    status = 409


class CollectionFailed(RoundsmanError):
    """No metrics of worker '{worker_id}': {why}. It is tried again at its next time; if it stays so, see whether the
    worker runs, and whether its provider may be asked."""

    status = 502


class WorkerVanished(RoundsmanError):
    """The provider no longer has worker '{worker_id}': {why}. Its monitoring ends. Remove it, and register it anew
    if it comes back."""

    status = 410


class InvalidRule(RoundsmanError):
    """The alert rule is not valid: {why}. Mend that, and send it again."""

    status = 422


class AlertRuleNotFound(RoundsmanError):
    """There is no alert rule '{rule_id}'. List the rules to see which there are."""

    status = 404


class AlertRuleFromSettings(RoundsmanError):
    """The alert rule '{rule_id}' is from the settings and cannot be changed here. Change it in settings.toml, or give
    a rule of your own another id."""

    status = 409


class AlertRuleChangedMeanwhile(RoundsmanError):
    """The alert rule '{rule_id}' is not the one that was to be changed: it has revision {found}, not {expected}. Read
    it again, and decide anew."""

    status = 409


class TooManyRules(RoundsmanError):
    """There are {count} alert rules in the store already, and more than {most} are not taken. Delete one first."""

    status = 409


class InvalidSilence(RoundsmanError):
    """The silence is not valid: {why}. Mend that, and send it again."""

    status = 422


class SilenceNotFound(RoundsmanError):
    """There is no silence '{silence_id}', or it was forgotten since it ended. List the silences to see which there
    are."""

    status = 404


class TooManySilences(RoundsmanError):
    """There are {count} silences already, and more than {most} are not taken. End some, or make one with wildcards."""

    status = 409


class AlertNotFound(RoundsmanError):
    """There is no alert '{alert_id}', or it was forgotten since it ended. List the alerts to see which there are."""

    status = 404


class AlertNotOpen(RoundsmanError):
    """There is no open alert '{alert_id}': it ended at {resolved_at}. What is over needs nobody to know of it; list
    the alerts to see what is open."""

    status = 409


class InvalidAck(RoundsmanError):
    """The acknowledgement is not valid: {why}. Mend that, and send it again."""

    status = 422


class RuleNotRehearsed(RoundsmanError):
    """The alert rule '{rule_id}' cannot be tried on samples of a worker: it is about a provider's region, of which one
    worker's samples say nothing. Try a rule for a metric, a status or no_data."""

    status = 422
