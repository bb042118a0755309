"""Hold the words that tell names of components from words for kinds of them."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import stem

# A name made of two words, such as "docvault", is none that English has.
COINED = re.compile(
    r"[a-z]{3,12}(?:vault|hub|bank|sync|pacer|maker|router|bridge|base|mesh|shield|watch|tracker|guard|graph|cache"
    r"|ledger|kit|proxy|broker|bus|bot|lake|forge|beat|trace|pipe|scan|mart|cart|shop|store|runner|keeper"
    r"|finder|builder|checker|planner|matcher|scaler|loader|writer|reader|parser|sender|mailer|logger|bouncer|flow|queue|db"
    r"|desk|pay|link|view|board|box|book|mind|stack|cloud|ops|api|svc|srv)"
)
COMPOUNDS = vocabulary(
    """
    database website keyboard dashboard network workflow mailbox inbox overflow gateway helpdesk passport airport report
    support transport import export checkpoint endpoint viewpoint notebook handbook playbook runbook textbook logbook
    workshop outbox sandbox toolbox internet ethernet intranet broadcast forecast podcast safeguard lifeguard aircraft
    paragraph photograph setpoint standpoint waypoint overview interview review preview inflow outflow cashflow backstore
    datastore bookstore mailbot seaport spaceport blackboard whiteboard clipboard onboard outboard billboard investigate
    navigate mitigate delegate aggregate propagate heartbeat overlap uplink downlink hyperlink backlink databank breakpoint
    flashpoint pinpoint design assign resign planner runner reader writer loader sender builder checker restore
    bookkeeper timekeeper gatekeeper frontrunner proofreader underwriter typewriter likewise otherwise repay prepay overpay
    loophole carport rapport cabinet magnet planet bonnet cornet blackbox shortcut postbox jukebox firewall
    """
)
# "Tank 7" is one tank; these words before a number name no thing.
NO_NUMBERED = frozenset(
    stem(word)
    for word in vocabulary(
        """
        step version release season level phase day week month quarter year error code status page percent limit about
        around under over above below only just some nearly almost within after before until from model patch update
        firmware part section chapter sev priority number point degree minute hour second top last first about every
        article rule paragraph round episode case problem question number reason time kind way group side place thing
        """
    )
)
# Technical terms that are no components: what is measured, protocols, severities, zones of time.
NO_COMPONENT = re.compile(
    r"p\d{1,3}|sev-?\d|prio-?\d|v?\d+(?:\.\w+)*|t\+\d+|\d.*%?|tls|ssl|mtls|cpu|gpu|ram|oom|i/o|io|utc|gmt|cest?|dst|http|https"
    r"|tcp|udp|ip|ipv4|ipv6|icmp|bgp|ospf|vlan|sql|json|xml|csv|html|sku|skus|slas?|slos?|slis?|kpi|api|apis|url|urls|uri"
    r"|ui|gui|rpc|grpc|rest|eta|etas|id|ids|ok|q[1-4]|rfc|cve|ci|cd|ci/cd|qa|uat|ttl|mtu|mb/s|gb/s|kb/s|iops|qps|rps|tps"
    r"|rto|rpo|mttr|hq|vip|ceo|cto|it|noc|soc|sre|sres|us|eu|uk|usa|spf|dkim|dmarc|mx|oncall|on-call|hvac|gps|pdf|sms|gc|fd"
    r"|ssd|hdd|nvme|psu|ups|led|lan|wan|wifi|wi-fi|usb|pos|atm|atms|ev|evs|dc|az|db|vm|vms|os|pin|iban|vat|sim|otp|mfa|sso"
    r"|[kmgt]i?b|ms|rpm|[km]?wh|mw|n/a|a/b|24/7|(?:pre|post|re)-[a-z]+",
    re.IGNORECASE,
)
SYNONYMS = {
    "db": ("database",),
    "svc": ("service",),
    "srv": ("server", "service"),
    "lib": ("library",),
    "gw": ("gateway",),
    "lb": ("balancer",),
    "cfg": ("config", "configuration"),
    "conf": ("config", "configuration"),
    "config": ("configuration",),
    "mgr": ("manager",),
    "ctl": ("controller", "control"),
    "ctrl": ("controller", "control"),
    "auth": ("authentication", "authorization", "authorisation", "authenticator"),
    "msg": ("message", "messaging"),
    "idx": ("index",),
    "mq": ("queue",),
    "q": ("queue",),
    "repo": ("repository",),
    "app": ("application",),
    "notif": ("notification",),
    "inv": ("inventory",),
    "k8s": ("kubernetes",),
    "pg": ("postgres", "postgresql"),
    "postgres": ("postgresql",),
    "prod": ("production",),
    "repl": ("replica", "replication"),
    "rec": ("recommendation", "recommender"),
    "txn": ("transaction",),
    "tx": ("transaction",),
    "acct": ("account",),
    "mgmt": ("management",),
    "env": ("environment",),
    "img": ("image",),
    "admin": ("administration",),
    "dns": ("nameserver",),
    "fw": ("firewall", "firmware"),
    "sw": ("switch",),
    "sched": ("scheduler", "scheduling"),
    "sync": ("synchronisation", "synchronization", "synchroniser", "synchronizer"),
    "calc": ("calculator", "calculation"),
    "max": ("maximum",),
    "min": ("minimum",),
    "east": ("eastern",),
    "west": ("western",),
    "north": ("northern",),
    "south": ("southern",),
}
# A site or stage at the end of a name may be left out: "the bidder" is bidder-eu.
PLACES = vocabulary(
    """
    eu us uk de fr asia apac emea na latam east west north south central prod production staging stage dev test main
    primary secondary master a b c blue green live
    """
)
# Parts that name a kind of component, not one of them.
GENERIC = frozenset(
    stem(word)
    for word in vocabulary(
        """
        access account action agent alarm alert analytics api app application area array asset audit auth autoscaling
        backend background backup balancer bank batch board box branch broker bucket budget buffer build bus cable cache
        capacity card carrier cell center centre certificate chain channel check circuit class client clock cloud cluster
        code config configuration connection connector console consumer container content control controller copy core
        cpu crawler credential cron customer daemon dashboard data database datacenter dataset db dc default deploy
        deployment desk device directory disk display dispatcher domain drive driver edge element endpoint engine engineer
        entry environment error event export external failover farm feature feed field file filter firewall firmware flag
        fleet folder form frame framework front frontend function gate gateway global group handler hardware health heap
        host hub image import index infrastructure inner input instance integration interface internal internet inventory
        item job journal key kernel label lag layer leader ledger lib library license licence limit line link list load
        local lock log logging login machine mail main manager map master member memory message messaging metric
        middleware migration mobile model module monitor monitoring name network new node notification object old online
        operation operator order origin output page pager panel parser part partition partner patch path payload peer
        pipeline platform plugin pod policy pool port portal power primary printer process processor producer product
        production profile program project provider proxy public push query queue range rate read reader receiver record
        region register registry relay release remote replica replication report request resolver resource response retry
        role root route router rule run runner scanner schedule scheduler schema scraper script search secondary secret
        section security segment sender sensor server service session set setting shard shared sheet shop site software
        source stage standby start state station status step storage store stream subnet support switch sync system table
        task team template terminal test thread tier timeout token tool topic tracker traffic transaction transport
        trigger tunnel type unit update upload upstream user utility validation value vendor version video view virtual
        vm volume warehouse watcher web website window worker workflow world write writer zone north south east west
        """
    )
)
# What runs under a component's name: "the fulfilment pods" are those of fulfilment-worker.
INSTANCES = frozenset(
    stem(word)
    for word in vocabulary(
        """
        pod worker node instance host server service consumer process container replica fleet daemon job application app
        component system module cluster api deployment
        """
    )
)
# "<name> cluster" in the input makes the name before it a component, unless that is a plain word.
KINDS = frozenset(
    stem(word)
    for word in vocabulary(
        """
        service server cluster database db queue topic table gateway proxy broker cache api portal app module worker pod
        node shard index bucket pipeline job library plugin controller scheduler agent daemon engine host bus collector
        registry replica store zone firewall switch router printer scanner provider platform dashboard tunnel ledger
        feed bridge balancer exporter importer parser resolver dispatcher terminal kiosk sensor appliance pump valve breaker
        freezer fridge motor conveyor robot crane boiler chiller turbine generator compressor lift furnace reactor tank camera
        meter drone oven mixer press detector battery inverter transformer antenna barrier
        """
    )
)
QUALITIES = frozenset(
    stem(word)
    for word in vocabulary(
        """
        first second third bad broken empty full failed failing faulty wrong stale slow whole entire affected single several
        nightly daily weekly hourly active live passive hot cold warm spare idle busy dead healthy unhealthy overloaded missing
        malformed duplicate noisy poison temporary manual automatic automated new old invalid corrupt corrupted expired
        incorrect unknown unexpected high low large small many some more most other last next previous current final initial loose rusty dirty wet cracked worn split torn bent stuck jammed clogged leaking frozen melted burnt
        unplugged disabled suspicious incomplete defective damaged obsolete blocked disconnected misplaced stopped open closed
        """
    )
)
# Days, seasons, departments and places have capitals too, and are no components.
NO_NAME = QUALITIES | frozenset(
    stem(word)
    for word in vocabulary(
        """
        monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
        september october november december christmas easter black cyber season spring summer autumn fall winter boxing
        version release firmware model team engineer duty shift finance operations sales marketing legal hr support
        security compliance logistics procurement helpdesk staff management research editorial newsroom control reception
        accounting dispatch payroll
        germany france spain italy poland portugal austria switzerland sweden norway denmark finland netherlands belgium
        europe asia africa america india china japan korea brazil canada mexico australia england scotland ireland wales
        london paris berlin munich hamburg madrid rome vienna zurich dublin frankfurt amsterdam stockholm oslo tokyo
        singapore sydney york chicago boston texas california oregon virginia ohio english german french spanish european
        """
    )
)
