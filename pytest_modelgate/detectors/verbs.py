"""List the verbs by which somebody is told to do something, and read the forms of a verb."""

from __future__ import annotations

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import stem

PLAIN_VERBS = vocabulary(
    """
    abort accept activate adapt add adjust adopt agree align allocate allow amend annotate append apply approve
    archive arrange assign attach authenticate authorise authorize automate avoid await begin bind block boot bring
    browse buy calibrate cancel categorise check choose clarify clean clear click clone close collect combine
    commit compare compile complete compress configure confirm connect consolidate consult contact continue convert
    coordinate correct create customise customize deactivate declare decline decode decommission decouple decrease
    dedent delete deliver deny deprecate describe detach detect determine develop disable disallow disconnect
    discard discuss dispose divide document double downgrade download drain duplicate edit educate eliminate email empty
    enable encode encrypt enforce enlarge enrich ensure enter erase escalate establish evaluate examine exchange
    execute expand expire explain expose extend extract fetch file fill find finish fit fix flush follow format
    forward freeze gain gather generate get give go grant guarantee handle harden identify implement improve include
    incorporate indent inform initialise initialize initiate inject insert inspect install instruct instrument
    integrate introduce invalidate invert investigate invite invoke isolate join keep leave let limit lower maintain
    make measure merge migrate minimise minimize modify monitor mount move mute navigate notify obtain omit open
    optimise optimize organise organize outline override overwrite pause perform permit persist place postpone
    prefer prefix prepare prepend press prevent prioritise prioritize proceed prohibit promote protect prove
    provide provision prune publish pull purchase purge put quarantine quote raise re-run read rearrange rebase
    reboot rebuild recalibrate recheck reclaim recommend reconcile reconfigure recreate recycle redeploy redesign
    redirect reduce redo refactor refer refill reformat refresh refuse regenerate register reindex reinstall
    reinstate reject relabel relax reload relocate remember remind remove rename renew reopen reorder repair repeat
    rephrase replace replicate reproduce require refit retrofit reroute rerun reschedule reserve reset resize resolve respond
    restore restrict retain retest retire retrain retrieve retry retune reuse revert review revise revoke rewrite
    rinse rollback rotate save schedule secure segment select send separate serialise serialize shorten shrink
    simplify simulate sign skip smooth speak specify speed split standardise standardize stagger stay strengthen
    submit substitute subscribe suppress synchronise synchronize tag tell terminate throttle tighten train transfer
    transform translate trim truncate try tune turn type unblock uncheck undo uninstall unify unlock unmount unpin
    unquote unset unsubscribe unzip update upgrade upload validate vary verify visit wait warn widen wipe withdraw
    write
    """
)
"""What can hardly be anything but a verb where a sentence begins with it."""

NOUN_VERBS = vocabulary(
    """
    access address alert answer audit back ban batch book bound budget buffer build bump cache call cap capture
    cast change charge clamp copy cover cross cut cycle date debug default define delay deploy design drill drop
    dump duplicate engage escape exclude exit export fail feed filter flag focus force fork free gate grade group
    guard guide halt hash head heed help hire hold host hot import increase index invest join label land launch
    link list load lock log look mail map mark mask match mirror mock name nest note offer order own pack page park
    parse partition paste patch phase pick pilot pin ping pipe plan plug point poll pool port post practise
    practice print probe process profile program prompt push query queue quit rate rebalance record rehearse
    release repair replace report request reserve restart result return reward ring roll route run sample sanitize
    sanitise scale scan score scrub search seed seek select serve set shard share shift ship show shut size
    snapshot sort source spread squash stage start step stock stop store stress strip stub supply support swap
    switch sync table take target teach tear template test time touch trace track trade treat trust use value vault
    version view void watch weigh whitelist work wrap
    """
)
"""What may be a noun as well: "Run npm install", but "Run times are long"."""


def is_base(word: str) -> bool:
    """Say whether ``word`` (lower case) is the base form of a verb of the lists."""
    return word in PLAIN_VERBS or word in NOUN_VERBS


VERB_STEMS = frozenset(stem(verb) for verb in PLAIN_VERBS | NOUN_VERBS)
"""The stems of all these verbs, for their other forms: ``added``, ``adding``, ``adds``."""
