"""Settings: read once from the environment, checked loudly, handed on as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from runtime.breaker import Rule
from runtime.channels import Channels
from runtime.environment import (
    Reader,
    directory,
    folder,
    network,
    origin,
    port_number,
    share_of_one,
    switch,
    whole,
    words,
)
from runtime.key_ring import SigningKey, parse_ring
from runtime.logging import LEVELS
from runtime.secret_files import KEY_BYTES, read_secret

# What a demo, a bench or a test sets that has a few people do the work of many.
WIDE_LIMITS = {
    "USER_REQUESTS_PER_S": "1000000",
    "LOGINS_PER_MIN": "1000000",
    "LOGINS_PER_MIN_ADDRESS": "1000000",
    "SALES_PER_S": "1000000",
    "BATCHES_PER_S": "1000000",
}

BROKER_DB = 1  # beside the gate's database 0 on the same server, when BROKER_URL is not given


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that differs between installations. Secrets stay out of the repr."""

    database_url: str = field(repr=False)  # as the application's role
    owner_database_url: str | None = field(default=None, repr=False)  # as the tables' owner: migrations
    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    jwt_keys: tuple[SigningKey, ...] = field(repr=False)  # the first signs; see runtime.key_ring
    jwt_key_file: Path | None = None  # where they come from, to be followed; None: from the environment
    code_key: bytes = field(repr=False)
    var_dir: Path = Path("var/run")
    access_token_minutes: int = 15
    session_days: int = 30  # after its login a session ends, however often it was refreshed
    totp_required: bool = False  # administrators may do nothing before they have set up one-time codes
    user_requests_per_s: int = 10  # of one user; ticket calls are counted apart, with the same limit
    logins_per_min: int = 5  # of one account at one address
    logins_per_min_address: int = 300  # of one address: carriers put many agents behind one
    sales_per_s: int = 20  # single sales of one agent
    batches_per_s: int = 1  # of one agent
    trusted_proxies: tuple[str, ...] = ()  # whose X-Forwarded-For is believed: addresses or networks
    cors_origins: tuple[str, ...] = ()  # web pages that may call the API; none by default
    metrics_from: tuple[str, ...] = ("127.0.0.0/8", "::1/128")  # addresses or networks that may read GET /metrics
    commission_bp_max: int = 2_000  # of a sale: an agent's commission and his coordinators' above him, all together
    claim_days: int = 365  # after its draw a prize can be claimed
    claim_approval_above: int = 1_000_000  # centavos of prize above which another person approves
    tax_above: int = 1_000_000  # centavos of a ticket's whole prize above which tax is withheld from all of it
    tax_bp: int = 2_000  # basis points of the prize
    gate_timeout_ms: int = 800  # of one call to the gate; a hanging Redis is answered 503 within a second
    database_answer_ms: int = 1_000  # for a sign of life, asked of every connection before the API uses it
    database_statement_ms: int = 5_000  # of one statement of the API; what takes longer is given up
    breaker_window_s: int = 3  # a part is not asked any more when, in so many seconds,
    breaker_failing_share: float = 0.5  # so many of its calls have failed,
    breaker_open_s: int = 30  # and then for so long at the most: it is probed each second
    replicas: int = 0  # replicas that must hold an answer before it is given
    replica_wait_ms: int = 500  # how long to wait for them
    memory_sale_share: float = 0.8  # of Redis' maxmemory; above it selling stops, closing and draining go on
    schedule_days: int = 14  # whose draws are made ahead; 0: all draws are made by hand
    persist_batch_max: int = 5_000  # journal records in one transaction
    low_credit: int = 50_000  # centavos available below which an agent is told so, and whoever stands above him
    notification_days: int = 90  # after so long they are forgotten
    channels: Channels = field(default_factory=Channels)  # who outside is told
    reports_dir: Path = Path("var/run/reports")  # with several machines, one that they share
    report_days: int = 30  # for which a report's file is kept
    watchdog_s: int = 20  # for so long a journal may wait before a worker that takes nothing up restarts itself
    api_workers: int = 2
    api_threads: int = 32
    api_host: str = "127.0.0.1"
    port: int = 8000
    live: bool = True  # a process that tells events live
    live_port: int = 8002
    live_connections: int = 4_096  # at a time to that process; more are refused
    flower: bool = True
    flower_port: int = 8001
    ticket_templates: Path | None = None  # an operator's own templates of printed tickets, before those shipped
    draw_results: Path | None = None
    log_level: str = "info"

    @property
    def keys_dir(self) -> Path:
        return self.var_dir / "keys"

    @property
    def witness_dir(self) -> Path:
        """Where API processes keep the highest stream ids that they answered for."""
        return self.var_dir / "witness"

    @property
    def gate_timeout_s(self) -> float:
        return self.gate_timeout_ms / 1000

    @property
    def breaker(self) -> Rule:
        """When a part is not asked any more."""
        return Rule(self.breaker_window_s, self.breaker_failing_share, self.breaker_open_s)

    @property
    def metrics_dir(self) -> Path:
        """Where the processes of this machine count together."""
        return self.var_dir / "metrics"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment. Raises `SettingsError` that names each bad or missing variable."""
        read = Reader(environ)
        var_dir = read("VAR", "var/run", directory)
        keys = var_dir / "keys"
        port = read("PORT", "8000", port_number)
        redis_url = read.required("REDIS_URL", _redis_url)
        settings = cls(
            database_url=read.required("DATABASE_URL", _database_url),
            owner_database_url=read.optional("OWNER_DATABASE_URL", _database_url),
            redis_url=redis_url,
            broker_url=read("BROKER_URL", broker_url_of(redis_url), _broker_url),
            jwt_keys=read.from_file("JWT_KEY", lambda: read_secret(keys / "jwt.key"), parse_ring),
            jwt_key_file=None if environ.get("JWT_KEY") else keys / "jwt.key",
            code_key=read.from_file("CODE_KEY", lambda: read_secret(keys / "code.key"), _key),
            var_dir=var_dir,
            access_token_minutes=read("ACCESS_TOKEN_MINUTES", "15", whole(1, 24 * 60)),
            session_days=read("SESSION_DAYS", "30", whole(1, 365)),
            totp_required=read("TOTP_REQUIRED", "0", switch),
            user_requests_per_s=read("USER_REQUESTS_PER_S", "10", whole(1, 1_000_000)),
            logins_per_min=read("LOGINS_PER_MIN", "5", whole(1, 1_000_000)),
            logins_per_min_address=read("LOGINS_PER_MIN_ADDRESS", "300", whole(1, 1_000_000)),
            sales_per_s=read("SALES_PER_S", "20", whole(1, 1_000_000)),
            batches_per_s=read("BATCHES_PER_S", "1", whole(1, 1_000_000)),
            trusted_proxies=read("TRUSTED_PROXIES", "", words(network)),
            cors_origins=read("CORS_ORIGINS", "", words(origin)),
            metrics_from=read("METRICS_FROM", " ".join(cls.metrics_from), words(network)),
            commission_bp_max=read("COMMISSION_BP_MAX", "2000", whole(0, 10_000)),
            claim_days=read("CLAIM_DAYS", "365", whole(1, 36_500)),
            claim_approval_above=read("CLAIM_APPROVAL_ABOVE", "1000000", whole(0, 10**15)),
            tax_above=read("TAX_ABOVE", "1000000", whole(0, 10**15)),
            tax_bp=read("TAX_BP", "2000", whole(0, 10_000)),
            gate_timeout_ms=read("GATE_TIMEOUT_MS", "800", whole(10, 10_000)),
            database_answer_ms=read("DATABASE_ANSWER_MS", "1000", whole(10, 60_000)),
            database_statement_ms=read("DATABASE_STATEMENT_MS", "5000", whole(10, 600_000)),
            breaker_window_s=read("BREAKER_WINDOW_S", "3", whole(1, 60)),
            breaker_failing_share=read("BREAKER_FAILING_SHARE", "0.5", share_of_one),
            breaker_open_s=read("BREAKER_OPEN_S", "30", whole(1, 600)),
            replicas=read("REDIS_REPLICAS", "0", whole(0, 16)),
            replica_wait_ms=read("REPLICA_WAIT_MS", "500", whole(1, 10_000)),
            memory_sale_share=read("MEMORY_SALE_SHARE", "0.8", share_of_one),
            schedule_days=read("SCHEDULE_DAYS", "14", whole(0, 366)),
            persist_batch_max=read("PERSIST_BATCH_MAX", "5000", whole(1, 100_000)),
            low_credit=read("LOW_CREDIT", "50000", whole(0, 10**15)),
            notification_days=read("NOTIFICATION_DAYS", "90", whole(1, 36_500)),
            channels=Channels.from_reader(read),
            reports_dir=read("REPORTS_DIR", str(var_dir / "reports"), directory),
            report_days=read("REPORT_DAYS", "30", whole(1, 3_650)),
            watchdog_s=read("WATCHDOG_S", "20", whole(5, 3_600)),
            api_workers=read("API_WORKERS", "2", whole(1, 256)),
            api_threads=read("API_THREADS", "32", whole(1, 1_024)),
            api_host=read("API_HOST", "127.0.0.1", str),
            port=port,
            live=read("LIVE", "1", switch),
            live_port=read("LIVE_PORT", str((port or 8000) + 2), port_number),
            live_connections=read("LIVE_CONNECTIONS", "4096", whole(1, 1_000_000)),
            flower=read("FLOWER", "1", switch),
            flower_port=read("FLOWER_PORT", str((port or 8000) + 1), port_number),
            ticket_templates=read.optional("TICKET_TEMPLATES", folder),
            draw_results=read.optional("DRAW_RESULTS", Path),
            log_level=read("LOG_LEVEL", "info", _level),
        )
        read.check()
        return settings


def broker_url_of(redis_url: str | None) -> str:
    """The broker's URL on the same server, database 1, as kombu writes it; "" where that cannot be said."""
    parts = urlsplit(redis_url or "")
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host={BROKER_DB}"
    if parts.scheme in ("redis", "rediss"):
        return urlunsplit(parts._replace(path=f"/{BROKER_DB}"))
    return ""


def _broker_url(text: str) -> str:
    if not urlsplit(text).scheme:
        raise ValueError("must be given unless REDIS_URL is a redis://, rediss:// or unix:// URL")
    return text


def _database_url(text: str) -> str:
    if urlsplit(text).scheme not in ("postgresql", "postgresql+psycopg"):
        raise ValueError("must be a URL postgresql+psycopg://user:password@host/database")
    # SQLAlchemy takes a bare postgresql:// for another driver.
    return "postgresql+psycopg:" + text.split(":", 1)[1]


def _redis_url(text: str) -> str:
    if urlsplit(text).scheme not in ("redis", "rediss", "unix", "sentinel"):
        raise ValueError("must be a redis://, rediss://, unix:// or sentinel:// URL")
    return text


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return text.lower()


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ValueError(f"must be at least {KEY_BYTES} random bytes as hex")
    return key
