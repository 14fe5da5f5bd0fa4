-- The whole schema, in the order in which a ticket meets it.
--
-- Money is BIGINT centavos. A draw is `draws.id` inside the database and `draws.name` ("3D-20261122-1400") outside.
-- The application's role (drawbreak_app) owns nothing: see the grants at the end.

-- ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      text NOT NULL UNIQUE CHECK (username ~ '^[a-z0-9][a-z0-9._-]{2,31}$'),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('superadmin', 'admin', 'coordinator', 'agent', 'operator')),
    parent_id     bigint REFERENCES users,
    ancestors     bigint[] NOT NULL,          -- from the root down to the parent; a subtree is "ancestors @> {id}"
    status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    suspended_by  bigint REFERENCES users,    -- who suspended him: nobody below that person lifts it
    full_name     text,
    phone         text,
    address       text,
    commission_bp integer NOT NULL DEFAULT 0 CHECK (commission_bp BETWEEN 0 AND 10000),
    ticket_template text NOT NULL DEFAULT 'default' CHECK (ticket_template ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    ticket_paper  smallint NOT NULL DEFAULT 58 CHECK (ticket_paper IN (58, 80)),  -- millimetres
    created_at    timestamptz NOT NULL DEFAULT now(),
    password_changed_at  timestamptz NOT NULL DEFAULT now(),
    must_change_password boolean NOT NULL DEFAULT false,   -- the password was given by somebody else
    totp_secret          bytea,                -- encrypted; set when enrolment begins
    totp_confirmed_at    timestamptz,          -- from here on a login needs it
    totp_last_step       bigint,               -- the last one-time code's step: none is taken twice
    CHECK ((parent_id IS NULL) = (cardinality(ancestors) = 0)),
    CHECK (totp_confirmed_at IS NULL OR totp_secret IS NOT NULL)
);
CREATE INDEX users_ancestors ON users USING gin (ancestors);
CREATE INDEX users_moved ON users (id) WHERE password_hash LIKE '$2%';  -- bcrypt, until their next login

-- What a user earns on sales below himself, and where he stood. The row that is the newest when a draw opens is the
-- draw's: later changes and moves do not touch it.
CREATE TABLE commission_rates (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id   bigint NOT NULL REFERENCES users,
    bp        integer NOT NULL CHECK (bp BETWEEN 0 AND 10000),
    ancestors bigint[] NOT NULL,
    from_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX commission_rates_of_user ON commission_rates (user_id, from_at);

-- A login, with the family of its refresh tokens: `number` counts them, only the newest may be spent.
CREATE TABLE sessions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      bigint NOT NULL REFERENCES users,
    device       text NOT NULL DEFAULT '',
    address      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,         -- absolute: no refresh moves it
    number       integer NOT NULL DEFAULT 1 CHECK (number > 0),
    rotated_at   timestamptz NOT NULL DEFAULT now(),   -- when the newest one was made
    kid          text NOT NULL,                -- the key that signed it
    ended_at     timestamptz,
    ended_why    text,
    told_at      timestamptz,                  -- when the gate learnt that it ended
    CHECK ((ended_at IS NULL) = (ended_why IS NULL)),
    CHECK (told_at IS NULL OR ended_at IS NOT NULL)
);
CREATE INDEX sessions_of_user ON sessions (user_id, created_at);
CREATE INDEX sessions_to_tell ON sessions (ended_at) WHERE ended_at IS NOT NULL AND told_at IS NULL;

-- Numbers what the gate is told of users' standing: older news never overwrite newer.
CREATE SEQUENCE standing_version;

-- The truth about an agent's credit. `outbox_seq` is raised under the row's lock, so that what loosens credit
-- reaches the gate in an order without holes.
CREATE TABLE wallets (
    user_id      bigint PRIMARY KEY REFERENCES users,
    balance      bigint NOT NULL DEFAULT 0,
    credit_limit bigint NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),
    outbox_seq   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE wallet_outbox (
    user_id    bigint NOT NULL REFERENCES wallets,
    seq        bigint NOT NULL CHECK (seq > 0),
    amount     bigint NOT NULL CHECK (amount > 0),
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    applied_at timestamptz,
    PRIMARY KEY (user_id, seq)
);
CREATE INDEX wallet_outbox_waiting ON wallet_outbox (user_id, seq) WHERE applied_at IS NULL;

CREATE TABLE idempotency_keys (
    user_id    bigint NOT NULL REFERENCES users,
    key        text NOT NULL,
    digest     bytea NOT NULL,                -- of the call and its body: the same key with another body is refused
    status     integer NOT NULL,
    body       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- ── games and draws ─────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE games (
    game        text PRIMARY KEY,
    prize_table jsonb NOT NULL,
    limits      jsonb NOT NULL,
    limits_by_number jsonb NOT NULL DEFAULT '{}',  -- {"straight": {"046": centavos}, "rambolito": {"046": …}} by match key
    times       jsonb NOT NULL,               -- ["14:00", …], Asia/Manila
    changed_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE cancelled_dates (
    game   text NOT NULL REFERENCES games,
    date   date NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (game, date)
);

CREATE TABLE draws (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    game           text NOT NULL REFERENCES games,
    date           date NOT NULL,
    time           time NOT NULL,
    opens_at       timestamptz NOT NULL,
    cutoff_at      timestamptz NOT NULL,
    draws_at       timestamptz NOT NULL,
    status         text NOT NULL DEFAULT 'scheduled',
    asked_limits   jsonb,                     -- what the maker of the draw asked for; null takes the game's
    prize_table    jsonb,                     -- frozen at opening
    limits         jsonb,                     -- frozen at opening, with "by_number" as in games; then versioned
    limits_version integer NOT NULL DEFAULT 0,
    stopped        text,                      -- why this draw's drain and sales stopped; an engineer clears it
    opened_at      timestamptz,
    closed_at      timestamptz,
    sealed_at      timestamptz,
    resulted_at    timestamptz,
    settling_at    timestamptz,
    settled_at     timestamptz,
    voiding_at     timestamptz,
    voided_at      timestamptz,
    result         text,                      -- of the current version
    result_version integer NOT NULL DEFAULT 0,
    checked_version integer NOT NULL DEFAULT 0,  -- of the result after which all tickets still gave the sealed root
    expired_at     timestamptz,               -- when nothing of its prizes was left to claim
    UNIQUE (game, date, time),
    CHECK (opens_at < cutoff_at AND cutoff_at <= draws_at),
    CHECK (status IN ('scheduled', 'open', 'closed', 'sealed', 'resulted', 'settling', 'settled', 'voiding', 'void')),
    -- Each state and its timestamp, both ways. A draw on its way to void keeps the timestamps it had.
    CHECK (status IN ('voiding', 'void') OR (opened_at IS NULL) = (status = 'scheduled')),
    CHECK (status IN ('voiding', 'void')
           OR (closed_at IS NOT NULL) = (status IN ('closed', 'sealed', 'resulted', 'settling', 'settled'))),
    CHECK (status IN ('voiding', 'void')
           OR (sealed_at IS NOT NULL) = (status IN ('sealed', 'resulted', 'settling', 'settled'))),
    CHECK (status IN ('voiding', 'void')
           OR (resulted_at IS NOT NULL) = (status IN ('resulted', 'settling', 'settled'))),
    CHECK (status IN ('voiding', 'void') OR (result IS NOT NULL) = (status IN ('resulted', 'settling', 'settled'))),
    CHECK (status IN ('voiding', 'void')
           OR (settling_at IS NOT NULL) = (status IN ('settling', 'settled'))),
    CHECK ((settled_at IS NOT NULL) = (status = 'settled')),
    CHECK ((voiding_at IS NOT NULL) = (status IN ('voiding', 'void'))),
    CHECK ((voided_at IS NOT NULL) = (status = 'void')),
    CHECK (opened_at IS NULL OR (prize_table IS NOT NULL AND limits IS NOT NULL))
);
CREATE INDEX draws_by_status ON draws (status, opens_at);
CREATE INDEX draws_unchecked ON draws (id) WHERE status = 'settled' AND checked_version <> result_version;
CREATE INDEX draws_by_date ON draws (date, game, time);

-- Every version of a draw's limits.
CREATE TABLE draw_limits (
    draw_id integer NOT NULL REFERENCES draws,
    version integer NOT NULL CHECK (version > 0),
    limits  jsonb NOT NULL,
    made_by bigint REFERENCES users,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (draw_id, version)
);

-- What tightens: asked here first, applied by the gate, then posted. About a draw (close, cutoff, limits) or about a
-- user (debit, credit_limit: of his wallet; standing: suspended, reactivated or moved).
CREATE TABLE intents (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind       text NOT NULL CHECK (kind IN ('close', 'cutoff', 'limits', 'debit', 'credit_limit', 'standing')),
    draw_id    integer REFERENCES draws,
    user_id    bigint REFERENCES users,
    payload    jsonb NOT NULL,
    asked_by   bigint REFERENCES users,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    status     text NOT NULL DEFAULT 'asked' CHECK (status IN ('asked', 'posted', 'refused')),
    done_at    timestamptz,
    CHECK ((done_at IS NOT NULL) = (status <> 'asked')),
    CHECK ((draw_id IS NOT NULL) = (kind IN ('close', 'cutoff', 'limits'))),
    CHECK ((user_id IS NOT NULL) = (kind IN ('debit', 'credit_limit', 'standing')))
);
CREATE INDEX intents_waiting ON intents (asked_at) WHERE status = 'asked';
CREATE INDEX intents_of_draw ON intents (draw_id) WHERE draw_id IS NOT NULL;
CREATE INDEX intents_of_user ON intents (user_id, asked_at) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX intents_one_credit_limit ON intents (user_id) WHERE kind = 'credit_limit' AND status = 'asked';

-- Steps that need two persons: the first one's request, kept until the second's. That of a
-- void, a late seal or an annulled ticket stays, with the second one's name in `content`, as the record of who did it
-- and why.
CREATE TABLE pending_approvals (
    object   text NOT NULL,                   -- a draw's name, a game, or "dead_letter:5"
    kind     text NOT NULL CHECK (kind IN ('void', 'late_seal', 'result', 'correction', 'game', 'annul')),
    content  jsonb NOT NULL,
    asked_by bigint NOT NULL REFERENCES users,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (object, kind)
);

-- ── from the journal into the database ──────────────────────────────────────────────────────────────────────────

-- A draw's journal position. Whoever holds this row's lock persists the draw; everything in the books of the draw's
-- sale moves in the transaction that moves this row.
CREATE TABLE positions (
    draw_id      integer PRIMARY KEY REFERENCES draws,
    serial       bigint NOT NULL DEFAULT 0,
    sub          integer NOT NULL DEFAULT 0,
    tickets      bigint NOT NULL DEFAULT 0,
    stake        bigint NOT NULL DEFAULT 0,
    voids        bigint NOT NULL DEFAULT 0,
    voided_stake bigint NOT NULL DEFAULT 0,
    moved_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- No foreign keys here: the gate knows draws and agents, and a lookup per row would cost a third of the drain.
CREATE TABLE tickets (
    draw_date   date NOT NULL,
    draw_id     integer NOT NULL,
    serial      bigint NOT NULL CHECK (serial > 0),
    id          uuid NOT NULL,
    agent_id    bigint NOT NULL,
    accepted_at timestamptz NOT NULL,
    stake       bigint NOT NULL CHECK (stake > 0 AND stake % 100 = 0),
    available   bigint NOT NULL,
    PRIMARY KEY (draw_date, draw_id, serial),
    UNIQUE (draw_date, draw_id, id)
) PARTITION BY RANGE (draw_date);
CREATE INDEX tickets_of_agent ON tickets (agent_id, draw_date, draw_id, serial);
CREATE INDEX tickets_by_age ON tickets (accepted_at, draw_id, serial);

CREATE TABLE ticket_lines (
    draw_date date NOT NULL,
    draw_id   integer NOT NULL,
    serial    bigint NOT NULL,
    line_no   smallint NOT NULL CHECK (line_no BETWEEN 1 AND 10),
    play      text NOT NULL CHECK (play IN ('straight', 'rambolito')),
    number    text NOT NULL CHECK (number ~ '^([0-9]{3}|[0-3][0-9]-[0-3][0-9])$'),
    stake     bigint NOT NULL CHECK (stake > 0 AND stake % 100 = 0),
    PRIMARY KEY (draw_date, draw_id, serial, line_no)
) PARTITION BY RANGE (draw_date);
CREATE INDEX ticket_lines_by_number ON ticket_lines (draw_id, play, number, serial);

-- A void is a row of its own, never an UPDATE of the ticket. A cancel kills an id: with the ticket's serial and
-- stake when it was sold, with neither when it was never seen.
CREATE TABLE voids (
    draw_id       integer NOT NULL,
    serial        bigint NOT NULL,            -- (serial, sub) is its place in the journal
    sub           integer NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('void', 'cancel')),
    ticket_serial bigint,
    ticket_id     uuid NOT NULL,
    agent_id      bigint NOT NULL,
    stake         bigint NOT NULL CHECK (stake >= 0),
    made_at       timestamptz NOT NULL,
    reason        text NOT NULL,
    PRIMARY KEY (draw_id, serial, sub)
);
CREATE UNIQUE INDEX voids_once ON voids (draw_id, ticket_serial) WHERE stake > 0;
CREATE INDEX voids_by_id ON voids (draw_id, ticket_id);

CREATE TABLE gaps (
    draw_id      integer NOT NULL,
    first_serial bigint NOT NULL,
    last_serial  bigint NOT NULL,
    made_at      timestamptz NOT NULL,
    PRIMARY KEY (draw_id, last_serial),
    CHECK (first_serial <= last_serial)
);

CREATE TABLE closings (
    draw_id      integer PRIMARY KEY REFERENCES draws,
    serial       bigint NOT NULL,
    sub          integer NOT NULL,
    made_at      timestamptz NOT NULL,
    tickets      bigint NOT NULL,
    stake        bigint NOT NULL,
    voids        bigint NOT NULL,
    voided_stake bigint NOT NULL,
    why          text NOT NULL
);

-- What could not be done and waits for a person: a record of a journal that the database refused, byte for byte; a
-- task that failed too often, or for good; a message that nobody understood.
CREATE TABLE dead_letters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('record', 'task', 'message')),
    queue      text NOT NULL,
    task       text,                           -- its name; of a message: what it seemed to ask for
    arguments  jsonb,                          -- of a task: a list
    draw_id    integer REFERENCES draws,       -- of a record, and so the next two
    serial     bigint,
    sub        integer,
    body       bytea,                          -- of a record or a message
    error      text NOT NULL,
    sqlstate   text,
    traceback  text,
    status     text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'replayed', 'annulled', 'discarded')),
    attempts   integer NOT NULL DEFAULT 1,
    first_at   timestamptz NOT NULL DEFAULT now(),
    last_at    timestamptz NOT NULL DEFAULT now(),
    ended_by   bigint REFERENCES users,        -- NULL: it succeeded by itself later, or at the command line
    ended_at   timestamptz,
    end_reason text,
    UNIQUE (draw_id, serial, sub),
    CHECK ((kind = 'record') = (draw_id IS NOT NULL)),
    CHECK (num_nulls(draw_id, serial, sub) IN (0, 3)),
    CHECK ((kind = 'task') = (arguments IS NOT NULL)),
    CHECK ((kind <> 'task') = (body IS NOT NULL)),
    CHECK (kind <> 'task' OR task IS NOT NULL),
    CHECK (status <> 'discarded' OR kind <> 'record'),  -- a ticket is replayed or annulled
    CHECK (status <> 'annulled' OR kind = 'record'),
    CHECK ((status = 'waiting') = (ended_at IS NULL)),
    CHECK (status NOT IN ('annulled', 'discarded') OR end_reason IS NOT NULL)
);
CREATE INDEX dead_letters_of_draw ON dead_letters (draw_id) WHERE status IN ('waiting', 'annulled');
-- One letter a task and its arguments: who fails again adds to it.
CREATE UNIQUE INDEX dead_letters_task ON dead_letters (task, arguments) WHERE kind = 'task' AND status = 'waiting';

-- What failed and is tried again by itself: not before due_at, and not for ever.
CREATE TABLE retries (
    task      text NOT NULL,
    arguments jsonb NOT NULL,
    queue     text NOT NULL,
    attempts  integer NOT NULL,
    failures  integer NOT NULL DEFAULT 0,      -- of them those that count: not for want of a part that was away
    losses    integer NOT NULL DEFAULT 0,      -- of these, how many killed the process that worked on it
    first_at  timestamptz NOT NULL DEFAULT now(),
    last_at   timestamptz NOT NULL DEFAULT now(),
    due_at    timestamptz NOT NULL,
    error     text NOT NULL,
    traceback text,
    PRIMARY KEY (task, arguments)
);
CREATE INDEX retries_due ON retries (due_at);

CREATE TABLE agent_sums (
    draw_id      integer NOT NULL,
    agent_id     bigint NOT NULL,
    tickets      bigint NOT NULL,
    stake        bigint NOT NULL,
    voids        bigint NOT NULL,
    voided_stake bigint NOT NULL,
    PRIMARY KEY (draw_id, agent_id)
) WITH (fillfactor = 50);

-- Live stake per bet: straight by number, rambolito by its sorted number.
CREATE TABLE exposures (
    draw_id integer NOT NULL,
    play    text NOT NULL,
    key     text NOT NULL,
    stake   bigint NOT NULL,
    PRIMARY KEY (draw_id, play, key)
) WITH (fillfactor = 50);

-- ── the gate, as the database last knew it ──────────────────────────────────────────────────────────────────────

CREATE TABLE gate_state (
    one_row       boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    generation    bigint NOT NULL DEFAULT 0,
    run_id        text,
    replid        text,
    round         bigint NOT NULL DEFAULT 0,   -- raised to ask every witness slot what it knows
    reconciled_at timestamptz
);

CREATE TABLE witness_slots (
    slot      text PRIMARY KEY,                -- a name made once, kept beside its file
    round     bigint NOT NULL DEFAULT 0,       -- the last round that it answered
    listed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE witnesses (
    slot   text NOT NULL REFERENCES witness_slots ON DELETE CASCADE,
    draw   text NOT NULL,                      -- its name
    serial bigint NOT NULL,
    sub    integer NOT NULL,
    PRIMARY KEY (slot, draw)
);

-- ── seal ────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE seals (
    draw_id     integer PRIMARY KEY REFERENCES draws,
    tree_size   bigint NOT NULL,
    merkle_root bytea NOT NULL CHECK (length(merkle_root) = 32),
    sealed_at   timestamptz NOT NULL DEFAULT now(),
    late        boolean NOT NULL,
    reason      text,                          -- of a late seal
    restored    bigint NOT NULL,               -- leaves that the journal had back from the database
    gaps        jsonb NOT NULL,                -- [[first, last], …]
    tickets     bigint NOT NULL,
    voided      bigint NOT NULL,
    annulled    bigint NOT NULL,
    stake       bigint NOT NULL,               -- of the tickets that count
    sums_hash   bytea NOT NULL CHECK (length(sums_hash) = 32), -- of agent_sums and exposures, equal to the tickets' then
    CHECK (late = (reason IS NOT NULL))
);

-- Roots of the aligned blocks of 1,024 leaves: a proof reads one block and these, not the draw.
CREATE TABLE seal_blocks (
    draw_id integer NOT NULL REFERENCES seals,
    block   integer NOT NULL,
    hash    bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (draw_id, block)
);

CREATE TABLE seal_failures (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    draw_id    integer NOT NULL REFERENCES draws,
    failed_at  timestamptz NOT NULL DEFAULT now(),
    difference jsonb NOT NULL
);
CREATE INDEX seal_failures_of_draw ON seal_failures (draw_id, failed_at);

-- ── result and settlement ───────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE results (
    draw_id      integer NOT NULL REFERENCES draws,
    version      integer NOT NULL CHECK (version > 0),
    number       text NOT NULL,
    entered_by   bigint NOT NULL REFERENCES users,
    entered_at   timestamptz NOT NULL,
    confirmed_by bigint NOT NULL REFERENCES users,
    confirmed_at timestamptz NOT NULL DEFAULT now(),
    reason       text,                         -- of a correction
    confirm_reason text,                       -- the second person's
    PRIMARY KEY (draw_id, version),
    CHECK (entered_by <> confirmed_by),
    CHECK ((version > 1) = (reason IS NOT NULL))
);

CREATE TABLE settlement_steps (
    draw_id     integer NOT NULL,
    version     integer NOT NULL,
    name        text NOT NULL,
    ordinal     smallint NOT NULL,
    status      text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'done')),
    started_at  timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (draw_id, version, name),
    FOREIGN KEY (draw_id, version) REFERENCES results,
    CHECK ((finished_at IS NOT NULL) = (status = 'done'))
);

CREATE TABLE winners (
    draw_id  integer NOT NULL,
    version  integer NOT NULL,
    serial   bigint NOT NULL,
    line_no  smallint NOT NULL,
    agent_id bigint NOT NULL,
    play     text NOT NULL,
    number   text NOT NULL,
    stake    bigint NOT NULL,
    prize    bigint NOT NULL CHECK (prize > 0),
    PRIMARY KEY (draw_id, version, serial, line_no),
    FOREIGN KEY (draw_id, version) REFERENCES results
);

CREATE TABLE draw_reports (
    draw_id integer NOT NULL,
    version integer NOT NULL,
    body    jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (draw_id, version),
    FOREIGN KEY (draw_id, version) REFERENCES results
);

-- ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Unpaid winners of an older system, paid through the same claims.
CREATE TABLE old_winners (
    number      text PRIMARY KEY CHECK (number ~ '^[A-Z0-9-]{1,20}$'),
    code_digest bytea NOT NULL,               -- HMAC of the code: what is typed is compared, nothing can be read
    agent_id    bigint NOT NULL REFERENCES users,
    prize       bigint NOT NULL CHECK (prize > 0),
    claim_until timestamptz NOT NULL,
    note        text,
    imported_at timestamptz NOT NULL DEFAULT now()
);

-- What was paid on a winning ticket, whichever version of the result it was paid under, and what became of the rest.
-- The row is made when a ticket is first claimed, held or expired; its lock is the ticket's.
CREATE TABLE payouts (
    number      text PRIMARY KEY,             -- the ticket's number
    draw_id     integer REFERENCES draws,     -- null: of an older system
    serial      bigint,
    paid        bigint NOT NULL DEFAULT 0 CHECK (paid >= 0),       -- prize money, tax included
    tax         bigint NOT NULL DEFAULT 0 CHECK (tax BETWEEN 0 AND paid),
    expired     bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
    held_at     timestamptz,
    held_by     bigint REFERENCES users,
    held_reason text,
    UNIQUE (draw_id, serial),
    CHECK ((draw_id IS NULL) = (serial IS NULL)),
    CHECK ((held_at IS NULL) = (held_by IS NULL) AND (held_at IS NULL) = (held_reason IS NULL))
);

CREATE TABLE claims (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number     text NOT NULL REFERENCES payouts,
    version    integer,                       -- of the result it was claimed under
    prize      bigint NOT NULL CHECK (prize > 0),
    tax        bigint NOT NULL CHECK (tax BETWEEN 0 AND prize),
    claimed_by bigint NOT NULL REFERENCES users,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    payee      jsonb,
    status     text NOT NULL CHECK (status IN ('pending', 'paid', 'rejected', 'dropped')),
    decided_by bigint REFERENCES users,       -- who approved or rejected it; null where nobody had to
    decided_at timestamptz,
    reason     text,
    entry_id   bigint,                        -- in the books, once paid
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    CHECK ((status = 'paid') = (entry_id IS NOT NULL)),
    CHECK (decided_by IS NULL OR decided_by <> claimed_by OR status = 'dropped')
);
CREATE UNIQUE INDEX claims_one_pending ON claims (number) WHERE status = 'pending';
CREATE INDEX claims_of_ticket ON claims (number);
CREATE INDEX claims_by_status ON claims (status, id);

CREATE TABLE reprints (
    number   text NOT NULL,                   -- the ticket's
    copy     smallint NOT NULL CHECK (copy BETWEEN 1 AND 2),
    agent_id bigint NOT NULL REFERENCES users,
    made_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (number, copy)
);

-- ── audit ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Written in the transaction of the deed. A worker chains the rows: waiting for the chain here would make every
-- deed wait for every other.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id   bigint,                        -- null: the system, or somebody unknown
    actor      text,
    role       text,
    action     text NOT NULL,
    object     text NOT NULL,
    before     jsonb,
    after      jsonb,
    address    text,
    request_id text,
    outcome    text NOT NULL                  -- "done", or a problem's code
);
CREATE INDEX audit_by_actor ON audit (actor_id, id);
CREATE INDEX audit_by_name ON audit (actor, id);
CREATE INDEX audit_by_object ON audit (object, id);
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE audit_chain (
    seq      bigint PRIMARY KEY CHECK (seq > 0),
    audit_id bigint NOT NULL UNIQUE REFERENCES audit,
    hash     bytea NOT NULL CHECK (length(hash) = 32)
);

-- ── ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE accounts (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    text NOT NULL CHECK (kind IN ('wallet', 'cash', 'sales', 'prizes', 'prizes_owed', 'prizes_paid', 'paid_in_error',
                                          'commissions', 'unclaimed', 'tax_withheld', 'corrections', 'opening')),
    user_id bigint REFERENCES users,           -- whose wallet; null: a house account, one of its kind
    UNIQUE NULLS NOT DISTINCT (kind, user_id),
    CHECK ((kind = 'wallet') = (user_id IS NOT NULL))
);

CREATE TABLE entries (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    text NOT NULL CHECK (kind IN ('load', 'remittance', 'shortage', 'correction', 'sale', 'void', 'refund', 'prizes',
                                          'prizes_reversed', 'paid_in_error', 'commission', 'claim', 'expiry', 'opening')),
    draw_id integer REFERENCES draws,
    version integer,                           -- of the result, for prizes
    ticket  text,                              -- its number, for a claim
    made_by bigint REFERENCES users,
    note    text,
    made_at timestamptz NOT NULL DEFAULT now(),
    xact    xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX entries_of_draw ON entries (draw_id, kind);
CREATE INDEX entries_by_time ON entries (made_at);
CREATE UNIQUE INDEX entries_refund_once ON entries (draw_id) WHERE kind = 'refund';
CREATE UNIQUE INDEX entries_once_a_version ON entries (draw_id, version, kind)
    WHERE kind IN ('prizes', 'prizes_reversed', 'paid_in_error');
CREATE UNIQUE INDEX entries_commission_once ON entries (draw_id) WHERE kind = 'commission';

-- A positive amount is owed by the house to the account (credit), a negative one the other way (debit).
CREATE TABLE postings (
    entry_id   bigint NOT NULL REFERENCES entries,
    account_id bigint NOT NULL REFERENCES accounts,
    amount     bigint NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry_id, account_id)
);
CREATE INDEX postings_of_account ON postings (account_id, entry_id);

-- The zero sum is looked at once per entry, at commit: on postings it would be quadratic.
CREATE FUNCTION entry_is_balanced() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF (SELECT coalesce(sum(amount), 1) FROM postings WHERE entry_id = NEW.id) <> 0 THEN
        RAISE EXCEPTION 'entry % does not balance', NEW.id USING ERRCODE = 'DB001';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER entry_is_balanced AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION entry_is_balanced();

-- With the check at commit done, no later transaction may add to an entry.
CREATE FUNCTION postings_are_of_this_transaction() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN entries ON entries.id = added.entry_id
               WHERE entries.xact <> pg_current_xact_id()) THEN
        RAISE EXCEPTION 'postings belong to the transaction of their entry' USING ERRCODE = 'DB002';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER postings_are_of_this_transaction AFTER INSERT ON postings REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION postings_are_of_this_transaction();

-- ── told live ───────────────────────────────────────────────────────────────────────────────────────────────────

-- What happened and is to be told: written in the transaction of what happened, numbered in the order of sending, kept
-- while somebody who was away may catch up.
CREATE TABLE events (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq   bigint UNIQUE CHECK (seq > 0),          -- null: not sent yet
    name  text NOT NULL,
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    data  jsonb NOT NULL,
    rooms text[] NOT NULL CHECK (cardinality(rooms) > 0)   -- whose it is (rules/rooms.py)
);
CREATE INDEX events_to_send ON events (id) WHERE seq IS NULL;

-- The last number given, and the last one that is known to have been sent.
CREATE TABLE event_numbers (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    given   bigint NOT NULL DEFAULT 0,
    sent    bigint NOT NULL DEFAULT 0,
    CHECK (sent <= given)
);

-- ── notifications ───────────────────────────────────────────────────────────────────────────────────────────────

-- What people are told, written in the transaction of what happened. Nobody changes one; old ones are forgotten.
CREATE TABLE notifications (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind    text NOT NULL,
    title   text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
    text    text NOT NULL CHECK (length(text) BETWEEN 1 AND 2000),
    data    jsonb NOT NULL,
    rooms   text[] NOT NULL CHECK (cardinality(rooms) > 0),  -- whose it is (rules/rooms.py)
    made_by bigint REFERENCES users,           -- null: the system
    once    text UNIQUE,                       -- what it is about, where a repeated step must not tell it again
    outward boolean NOT NULL DEFAULT true      -- whether it may go to a webhook or by mail
);
CREATE INDEX notifications_of_rooms ON notifications USING gin (rooms);
CREATE INDEX notifications_by_time ON notifications (at);

CREATE TABLE notification_reads (
    user_id         bigint NOT NULL REFERENCES users,
    notification_id bigint NOT NULL REFERENCES notifications ON DELETE CASCADE,
    read_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, notification_id)
);
CREATE INDEX notification_reads_of ON notification_reads (notification_id);

-- Written with the notification by whoever makes it; a worker, which knows the channels, makes deliveries of it.
CREATE TABLE notifications_to_send (
    notification_id bigint PRIMARY KEY REFERENCES notifications ON DELETE CASCADE
);

CREATE TABLE notification_deliveries (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notification_id bigint NOT NULL REFERENCES notifications ON DELETE CASCADE,
    channel         text NOT NULL CHECK (channel IN ('webhook', 'mail')),
    made_at         timestamptz NOT NULL DEFAULT now(),
    rung_at         timestamptz,               -- when somebody was last asked to make it
    failed_at       timestamptz,               -- when it was last refused
    delivered_at    timestamptz,
    UNIQUE (notification_id, channel)
);
CREATE INDEX notification_deliveries_waiting ON notification_deliveries (channel, id) WHERE delivered_at IS NULL;
CREATE INDEX notification_deliveries_rung ON notification_deliveries (channel, rung_at)
    WHERE delivered_at IS NULL AND rung_at IS NOT NULL;

-- The bets of a draw that were told to be sold out: each once, also if a void made room for a while.
CREATE TABLE sold_out (
    draw_id integer NOT NULL,
    play    text NOT NULL,
    key     text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (draw_id, play, key)
);

-- ── requested reports ───────────────────────────────────────────────────────────────────────────────────────────

-- What somebody asked for, or what was made by itself when a draw settled. The files lie outside (REPORTS_DIR); `file`
-- is the name of the one that is being made, or that is there. Whoever begins anew takes another name, so that one who
-- was thought dead can no longer replace what is ready.
CREATE TABLE reports (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    number      bigint GENERATED ALWAYS AS IDENTITY UNIQUE,   -- the order in which they were asked for
    owner_id    bigint NOT NULL REFERENCES users,
    kind        text NOT NULL,
    format      text NOT NULL CHECK (format IN ('json', 'csv', 'xlsx', 'pdf')),
    top_id      bigint NOT NULL REFERENCES users,   -- whose subtree it shows: the owner, or somebody below him
    draw_id     integer REFERENCES draws,
    since       timestamptz,
    before      timestamptz,
    digest      bytea NOT NULL CHECK (length(digest) = 32),   -- of all that makes two requests equal
    lasting     boolean NOT NULL,                   -- it says the same as long as its digest does; else for a minute
    by_itself   boolean NOT NULL DEFAULT false,     -- nobody asked
    status      text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'ready', 'failed', 'expired')),
    asked_at    timestamptz NOT NULL DEFAULT now(),
    rung_at     timestamptz,                        -- when a worker was last rung for
    tries       integer NOT NULL DEFAULT 0,
    started_at  timestamptz,                        -- of the last try; its figures are those of this instant
    rows_done   bigint NOT NULL DEFAULT 0,
    rows_total  bigint,                             -- null: not known beforehand
    finished_at timestamptz,
    expires_at  timestamptz,
    file        text,
    size_bytes  bigint,
    sha256      bytea CHECK (length(sha256) = 32),
    code        text,                               -- why it failed: a problem's code
    detail      text,
    CHECK (num_nulls(since, before) IN (0, 2) AND since < before),
    CHECK ((finished_at IS NOT NULL) = (status IN ('ready', 'failed', 'expired'))),
    CHECK ((status IN ('running', 'ready')) = (file IS NOT NULL)),
    CHECK (status NOT IN ('running', 'ready') OR started_at IS NOT NULL),
    CHECK ((status IN ('ready', 'expired')) = (expires_at IS NOT NULL)),
    CHECK (num_nulls(expires_at, size_bytes, sha256) IN (0, 3)),
    CHECK ((status = 'failed') = (code IS NOT NULL)),
    CHECK ((code IS NULL) = (detail IS NULL))
);
-- Of equal requests at once, one is made.
CREATE UNIQUE INDEX reports_once ON reports (owner_id, digest) WHERE status IN ('waiting', 'running');
CREATE INDEX reports_of_owner ON reports (owner_id, number);
CREATE INDEX reports_equal ON reports (owner_id, digest, number) WHERE status = 'ready';
CREATE INDEX reports_unfinished ON reports (by_itself, number) WHERE status IN ('waiting', 'running');
CREATE INDEX reports_to_expire ON reports (expires_at) WHERE status = 'ready';
CREATE INDEX reports_over ON reports (finished_at) WHERE status IN ('failed', 'expired');

-- ── partitions ──────────────────────────────────────────────────────────────────────────────────────────────────

-- Makes the month's partitions of tickets and lines if they are missing. Attaching a finished table takes a weaker
-- lock on the parent than CREATE … PARTITION OF, so that drains of other months go on.
CREATE FUNCTION ensure_partitions(day date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    parent text;
    child  text;
    first  date := date_trunc('month', day);
BEGIN
    FOREACH parent IN ARRAY ARRAY['tickets', 'ticket_lines'] LOOP
        child := parent || to_char(first, '_YYYY_MM');
        IF to_regclass(child) IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtext('ensure_partitions'));
            IF to_regclass(child) IS NULL THEN
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', child, parent);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                               parent, child, first, (first + interval '1 month')::date);
            END IF;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION analyze_tickets(day date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    EXECUTE format('ANALYZE %I, %I', 'tickets' || to_char(day, '_YYYY_MM'), 'ticket_lines' || to_char(day, '_YYYY_MM'));
END $$;

-- ── first rows, grants ──────────────────────────────────────────────────────────────────────────────────────────

INSERT INTO gate_state DEFAULT VALUES;
INSERT INTO event_numbers DEFAULT VALUES;
INSERT INTO accounts (kind)
VALUES ('cash'), ('sales'), ('prizes'), ('prizes_owed'), ('prizes_paid'), ('paid_in_error'), ('commissions'), ('unclaimed'),
       ('tax_withheld'), ('corrections'), ('opening');

GRANT USAGE ON SCHEMA public TO drawbreak_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO drawbreak_app;
-- What is written stays written: not even the application can change what was sold, booked, sealed or drawn.
REVOKE UPDATE, DELETE ON tickets, ticket_lines, voids, gaps, closings, accounts, entries, postings, seals, seal_blocks,
    seal_failures, results, winners, draw_reports, commission_rates, draw_limits, old_winners, reprints, audit, audit_chain
    FROM drawbreak_app;
REVOKE UPDATE ON notifications, notification_reads, sold_out FROM drawbreak_app;
REVOKE DELETE ON users, wallets, wallet_outbox, games, draws, intents, positions, dead_letters, gate_state, payouts, claims
    FROM drawbreak_app;
GRANT USAGE ON SEQUENCE standing_version TO drawbreak_app;
REVOKE ALL ON FUNCTION ensure_partitions(date), analyze_tickets(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(date), analyze_tickets(date) TO drawbreak_app;
