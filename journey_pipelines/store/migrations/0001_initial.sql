-- The first migration: every table, function, index and right of the engine, the ledger and the intake.
-- Run in one transaction, so a migration that is killed leaves nothing behind.

CREATE SCHEMA IF NOT EXISTS journeys;
COMMENT ON SCHEMA journeys IS 'journey-pipelines: customer journeys as code';

-- ---------------------------------------------------------------------------------------------------------------
-- Time. Engine SQL takes :now; only the defaults of the intake tables ask the clock, so that an app needs no clock.

CREATE TABLE journeys.engine_clock (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    wall_at    timestamptz NOT NULL,
    engine_at  timestamptz NOT NULL,
    rate       double precision NOT NULL CHECK (rate > 0 AND rate <= 100000)
);
COMMENT ON TABLE journeys.engine_clock IS 'one row: at wall_at the engine''s clock showed engine_at and runs at rate; it never passes the wall';
INSERT INTO journeys.engine_clock (wall_at, engine_at, rate) SELECT t, t, 1 FROM (SELECT clock_timestamp() AS t) s;

CREATE FUNCTION journeys.clock_now() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT least(clock_timestamp(), c.engine_at + (clock_timestamp() - c.wall_at) * c.rate) FROM journeys.engine_clock c
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Total functions: from JSON to SQL types without ever raising (engine.md, 10).

CREATE FUNCTION journeys.shard_of(customer_id text) RETURNS smallint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint);

-- 0..9999, never negative: bit(60), not bit(32) (engine.md, 22)
CREATE FUNCTION journeys.bucket_of(salted text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ((('x' || substr(md5(salted), 1, 15))::bit(60)::bigint % 10000)::integer);

CREATE FUNCTION journeys.txt(j jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(j) = 'string' THEN j #>> '{}' END;

CREATE FUNCTION journeys.num(j jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(j) = 'number' AND abs(j::numeric) < 1e15 THEN j::numeric END;

CREATE FUNCTION journeys.bool(j jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(j) = 'boolean' THEN j::boolean END;

-- JSON null is missing, and so is a number that num() does not take
CREATE FUNCTION journeys.present(j jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j) WHEN 'null' THEN NULL WHEN 'number' THEN CASE WHEN abs(j::numeric) < 1e15 THEN j END ELSE j END;

-- ISO 8601 only: '2026-02-28', '2026-02-28T09:30[:15[.123456]][Z|+01:00]'; without offset it is UTC. 'now', 'infinity' and '2026-02-30' are missing.
CREATE FUNCTION journeys.ts_text(t text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    p text[];
    y int; mo int; d int; h int; mi int; s numeric; oh int; om int;
BEGIN
    IF t IS NULL OR length(t) > 40 THEN RETURN NULL; END IF;
    p := regexp_match(t, '^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,9})?))? ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$');
    IF p IS NULL THEN RETURN NULL; END IF;
    y := p[1]::int; mo := p[2]::int; d := p[3]::int;
    h := coalesce(p[4], '0')::int; mi := coalesce(p[5], '0')::int; s := round(coalesce(p[6], '0')::numeric, 6);
    IF y < 1 OR mo < 1 OR mo > 12 OR d < 1 OR h > 23 OR mi > 59 OR s >= 60 THEN RETURN NULL; END IF;
    IF d > (CASE WHEN mo = 2 THEN (CASE WHEN y % 4 = 0 AND (y % 100 <> 0 OR y % 400 = 0) THEN 29 ELSE 28 END)
                 WHEN mo IN (4, 6, 9, 11) THEN 30 ELSE 31 END) THEN RETURN NULL; END IF;
    oh := 0; om := 0;
    IF p[7] IS NOT NULL AND upper(p[7]) <> 'Z' THEN
        oh := substr(p[7], 2, 2)::int;
        om := coalesce(nullif(replace(substr(p[7], 4), ':', ''), ''), '0')::int;
        IF oh > 15 OR om > 59 THEN RETURN NULL; END IF;
        IF left(p[7], 1) = '-' THEN oh := -oh; om := -om; END IF;
    END IF;
    IF y = 1 AND mo = 1 AND d < 3 OR y = 9999 AND mo = 12 AND d > 29 THEN RETURN NULL; END IF;
    RETURN (make_timestamp(y, mo, d, h, mi, s::double precision) - make_interval(hours => oh, mins => om)) AT TIME ZONE 'UTC';
END
$$;

CREATE FUNCTION journeys.ts(j jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN journeys.ts_text(journeys.txt(j));

-- '12.50' -> 12.50; anything else is missing
CREATE FUNCTION journeys.num_text(t text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(t) <= 40 AND t ~ '^ *[+-]?([0-9]{1,15}(\.[0-9]{0,20})?|\.[0-9]{1,20}) *$' THEN t::numeric END;

-- ---------------------------------------------------------------------------------------------------------------
-- The truth table of the expression language (expressions/values.py is its twin; a differential test holds them together).

-- results of arithmetic: 12 decimals, and below 1e15 or missing
CREATE FUNCTION journeys.fit(n numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(n) < 999999999999999.9999999999995 THEN round(n, 12) END;

-- both sides keep 20 decimals and the quotient 50 before the last rounding, so that rounding twice cannot show
CREATE FUNCTION journeys.quotient(a numeric, b numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN journeys.fit(round(round(a, 20), 50) / nullif(round(b, 20), 0));

-- 0, '', an empty list or mapping, JSON null and what is absent are false
CREATE FUNCTION journeys.truth(j jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j)
    WHEN 'boolean' THEN j = 'true'::jsonb
    WHEN 'number' THEN j <> '0'::jsonb AND abs(j::numeric) < 1e15
    WHEN 'string' THEN j <> '""'::jsonb
    WHEN 'array' THEN j <> '[]'::jsonb
    WHEN 'object' THEN j <> '{}'::jsonb
    ELSE false END;

CREATE FUNCTION journeys.iso(t timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rtrim(rtrim(to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.') || 'Z';

-- lists and mappings have no text
CREATE FUNCTION journeys.text_of(j jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j)
    WHEN 'string' THEN j #>> '{}'
    WHEN 'number' THEN trim_scale(journeys.num(j))::text
    WHEN 'boolean' THEN j #>> '{}' END;

-- a number, or the number a text spells
CREATE FUNCTION journeys.number_of(j jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j) WHEN 'number' THEN journeys.num(j) WHEN 'string' THEN journeys.num_text(j #>> '{}') END;

CREATE FUNCTION journeys.length_of(j jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j)
    WHEN 'string' THEN length(j #>> '{}')
    WHEN 'array' THEN jsonb_array_length(j)
    WHEN 'object' THEN (SELECT count(*) FROM jsonb_object_keys(j)) END;

-- item in j: an element of a list, a key of a mapping, a part of a text
CREATE FUNCTION journeys.holds(j jsonb, item jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j)
    WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(j) AS e WHERE e = journeys.present(item))
    WHEN 'object' THEN jsonb_exists(j, journeys.txt(item))
    WHEN 'string' THEN strpos(j #>> '{}', journeys.txt(item)) > 0 END;

-- t in j: an element of a list whose text spells the time
CREATE FUNCTION journeys.holds_time(j jsonb, t timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(j) WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(j) AS e WHERE journeys.ts(e) = t) END;

-- letter by letter, whatever locale the database was created with (expressions/letters.py)
CREATE FUNCTION journeys.lower_text(t text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(t) = length(t) THEN lower(t COLLATE "C") ELSE translate(lower(t COLLATE "C"),
    'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƠƢƤƦƧƩƬƮƯƱƲƳƵƷƸƼǄǅǇǈǊǋǍǏǑǓǕǗǙǛǞǠǢǤǦǨǪǬǮǱǲǴǶǷǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȠȢȤȦȨȪȬȮȰȲȺȻȽȾɁɃɄɅɆɈɊɌɎͰͲͶͿΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫϏϘϚϜϞϠϢϤϦϨϪϬϮϴϷϹϺϽϾϿЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӁӃӅӇӉӋӍӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔẞẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾ',
    'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿźżžɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵơƣƥʀƨʃƭʈưʊʋƴƶʒƹƽǆǆǉǉǌǌǎǐǒǔǖǘǚǜǟǡǣǥǧǩǫǭǯǳǳǵƕƿǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟƞȣȥȧȩȫȭȯȱȳⱥȼƚⱦɂƀʉʌɇɉɋɍɏͱͳͷϳάέήίόύώαβγδεζηθικλμνξοπρστυφχψωϊϋϗϙϛϝϟϡϣϥϧϩϫϭϯθϸϲϻͻͼͽѐёђѓєѕіїјљњћќѝўџабвгдежзийклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӂӄӆӈӊӌӎӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕßạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿ') END;

CREATE FUNCTION journeys.upper_text(t text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(t) = length(t) THEN upper(t COLLATE "C") ELSE translate(upper(t COLLATE "C"),
    'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįıĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżžſƀƃƅƈƌƒƕƙƚƞơƣƥƨƭưƴƶƹƽƿǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟȣȥȧȩȫȭȯȱȳȼȿɀɂɇɉɋɍɏͱͳͷͻͼͽάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϲϳϵϸϻабвгдежзийклмнопрстуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕẛạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿ',
    'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŸĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮIĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŹŻŽSɃƂƄƇƋƑǶƘȽȠƠƢƤƧƬƯƳƵƸƼǷǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞȢȤȦȨȪȬȮȰȲȻⱾⱿɁɆɈɊɌɎͰͲͶϽϾϿΆΈΉΊΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡϹͿΕϷϺАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔṠẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾ') END;

-- ---------------------------------------------------------------------------------------------------------------
-- This database's own identity: salts for hashes that a clone must not share with production.

CREATE TABLE journeys.engine_identity (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    message_salt  text NOT NULL,
    hmac_inner    bytea NOT NULL CHECK (octet_length(hmac_inner) = 64),
    hmac_outer    bytea NOT NULL CHECK (octet_length(hmac_outer) = 64)
);
COMMENT ON TABLE journeys.engine_identity IS 'one row, written at migration: message_salt for message keys; the two padded keys of HMAC-SHA256 (RFC 2104) for addresses';

CREATE FUNCTION journeys.address_hmac(address text) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    SELECT sha256(i.hmac_outer || sha256(i.hmac_inner || convert_to(lower(address), 'UTF8'))) FROM journeys.engine_identity i
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- What is deployed

CREATE TABLE journeys.deployment (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation  bigint NOT NULL,
    policies    jsonb NOT NULL,
    catalogue   jsonb NOT NULL,
    sources     jsonb NOT NULL,
    deployed_at timestamptz
);
COMMENT ON TABLE journeys.deployment IS 'one row: what deploy wrote last; generation grows with each deploy, so that workers know when to compile again';
INSERT INTO journeys.deployment (generation, policies, catalogue, sources) VALUES (0, '{}', '{}', '{}');

CREATE TABLE journeys.automation_workflows (
    id            text NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    is_current    boolean NOT NULL,
    name          text NOT NULL,
    status        text NOT NULL CHECK (status IN ('draft', 'active', 'paused', 'completed', 'archived')),
    category      text NOT NULL CHECK (category IN ('marketing', 'transactional')),
    topic         text,
    priority      integer NOT NULL DEFAULT 0,
    definition    jsonb NOT NULL,
    content_hash  text NOT NULL,
    deployed_at   timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE UNIQUE INDEX automation_workflows_current ON journeys.automation_workflows (id) WHERE is_current;
COMMENT ON TABLE journeys.automation_workflows IS 'versions are immutable: definition holds the workflow, its templates and the catalogue types it was compiled with';

CREATE TABLE journeys.workflow_steps (
    workflow_id  text NOT NULL,
    version      integer NOT NULL,
    step_key     text NOT NULL,
    position     integer NOT NULL,
    step_uid     bigint NOT NULL,
    entry_uid    bigint NOT NULL,
    wait_kind    text NOT NULL CHECK (wait_kind IN ('none', 'elapsed', 'calendar', 'arrive')),
    wait_months  integer NOT NULL DEFAULT 0,
    wait_days    integer NOT NULL DEFAULT 0,
    wait_elapsed interval NOT NULL DEFAULT '0',
    PRIMARY KEY (workflow_id, version, step_key)
);
COMMENT ON TABLE journeys.workflow_steps IS 'a target''s statement and wait at run time; entry_uid is the statement an arriving journey is due for (differs from step_uid where arriving needs a statement of its own)';

CREATE TABLE journeys.interests (
    event_type    text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('entry', 'goal', 'exit', 'wake')),
    statement_uid bigint NOT NULL,
    workflow_id   text NOT NULL,
    versions      integer[] NOT NULL,
    PRIMARY KEY (event_type, kind, statement_uid)
);
COMMENT ON TABLE journeys.interests IS 'event type -> statements that have something to do with it; versions = those that share the statement';

-- ---------------------------------------------------------------------------------------------------------------
-- Intake

CREATE TABLE journeys.engine_shards (shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63));
CREATE TABLE journeys.delivery_shards (shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63));
INSERT INTO journeys.engine_shards SELECT generate_series(0, 63);
INSERT INTO journeys.delivery_shards SELECT generate_series(0, 63);

CREATE TABLE journeys.event_inbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source          text NOT NULL DEFAULT 'app' CHECK (length(source) BETWEEN 1 AND 64),
    source_event_id text CHECK (length(source_event_id) BETWEEN 1 AND 200),
    customer_id     text NOT NULL CHECK (length(customer_id) BETWEEN 1 AND 128),
    type            text NOT NULL CHECK (length(type) BETWEEN 1 AND 128),
    occurred_at     timestamptz NOT NULL DEFAULT journeys.clock_now()
                    CHECK (occurred_at BETWEEN '0001-01-02 00:00+00' AND '9999-12-30 00:00+00'),
    payload         jsonb NOT NULL DEFAULT '{}',
    profile         jsonb,
    received_at     timestamptz NOT NULL DEFAULT journeys.clock_now(),
    causation_id    bigint,
    depth           smallint NOT NULL DEFAULT 0 CHECK (depth >= 0),
    -- not later than five minutes after it was received: an event from 2099 must not park a person until 2099
    effective_at    timestamptz GENERATED ALWAYS AS
                    (least(occurred_at, ((received_at AT TIME ZONE 'UTC') + interval '5 minutes') AT TIME ZONE 'UTC')) STORED,
    shard           smallint GENERATED ALWAYS AS
                    (((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint)) STORED
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2);
CREATE INDEX event_inbox_order ON journeys.event_inbox (shard, effective_at, id);
COMMENT ON TABLE journeys.event_inbox IS 'the app contract: INSERT events here; a micro-batch takes them out. (source, source_event_id) makes an event count once; null = no de-duplication';

CREATE TABLE journeys.event_keys (key bytea PRIMARY KEY, seq bigint NOT NULL);
COMMENT ON TABLE journeys.event_keys IS 'key: the first 16 bytes of sha256(source, unit separator, source_event_id) of every event taken in; seq: the event that was first';

CREATE FUNCTION journeys.event_key(source text, source_event_id text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substr(sha256(convert_to(source || chr(31) || source_event_id, 'UTF8')), 1, 16);

CREATE TABLE journeys.customer_events (
    seq             bigint PRIMARY KEY,
    customer_id     text NOT NULL,
    shard           smallint NOT NULL,
    type            text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    original_occurred_at timestamptz,
    received_at     timestamptz NOT NULL,
    source          text NOT NULL,
    source_event_id text,
    payload         jsonb NOT NULL,
    message_key     text,
    journey_id      bigint,
    causation_id    bigint,
    depth           smallint NOT NULL DEFAULT 0
) WITH (autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX customer_events_history ON journeys.customer_events (customer_id, type, occurred_at, seq);
CREATE INDEX customer_events_received ON journeys.customer_events USING brin (received_at);
COMMENT ON TABLE journeys.customer_events IS 'history: seq is event_inbox.id; the order of one customer''s events is (occurred_at, seq)';
COMMENT ON COLUMN journeys.customer_events.original_occurred_at IS 'what the app said, where intake clamped it';

CREATE TABLE journeys.customer_event_stats (
    customer_id text NOT NULL,
    type        text NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    last_seq    bigint NOT NULL,
    n           bigint NOT NULL,
    PRIMARY KEY (customer_id, type)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE journeys.event_quarantine (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inbox_id        bigint,
    source          text NOT NULL,
    source_event_id text,
    customer_id     text,
    type            text,
    occurred_at     timestamptz,
    received_at     timestamptz,
    payload         jsonb,
    raw             text,
    reason          text NOT NULL,
    sqlstate        text,
    statement       text,
    quarantined_at  timestamptz NOT NULL
);
CREATE INDEX event_quarantine_source ON journeys.event_quarantine (source, source_event_id);
COMMENT ON TABLE journeys.event_quarantine IS 'rows that could not be used, with the reason; raw holds what is not JSON';

CREATE TABLE journeys.event_sources (
    source_id      text PRIMARY KEY,
    cursor_value   timestamptz,
    rows_read      bigint NOT NULL DEFAULT 0,
    rows_refused   bigint NOT NULL DEFAULT 0,
    last_polled_at timestamptz,
    last_error     text
);
COMMENT ON TABLE journeys.event_sources IS 'how far a declared event source has been read; losing it costs a second read, never an event';

CREATE TABLE journeys.segment_changes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    segment_id  text NOT NULL CHECK (segment_id ~ '^[a-z][a-z0-9_]{0,62}$'),
    customer_id text NOT NULL CHECK (length(customer_id) BETWEEN 1 AND 128),
    change      text NOT NULL CHECK (change IN ('enter', 'leave')),
    occurred_at timestamptz NOT NULL DEFAULT journeys.clock_now()
                CHECK (occurred_at BETWEEN '0001-01-02 00:00+00' AND '9999-12-30 00:00+00'),
    shard       smallint GENERATED ALWAYS AS
                (((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint)) STORED
);

CREATE TABLE journeys.segment_memberships (
    segment_id  text NOT NULL,
    customer_id text NOT NULL,
    entered_at  timestamptz NOT NULL,
    left_at     timestamptz,
    source      text NOT NULL,
    CHECK (left_at >= entered_at)
);
CREATE UNIQUE INDEX segment_memberships_current ON journeys.segment_memberships (customer_id, segment_id) WHERE left_at IS NULL;
CREATE INDEX segment_memberships_history ON journeys.segment_memberships (segment_id, entered_at);

-- ---------------------------------------------------------------------------------------------------------------
-- Customers

CREATE TABLE journeys.zone_offsets (
    zone       text NOT NULL,
    utc_from   timestamptz NOT NULL,
    utc_to     timestamptz NOT NULL,
    utc_offset interval NOT NULL,
    local_to   timestamp NOT NULL,
    PRIMARY KEY (zone, utc_to)
);
CREATE INDEX zone_offsets_local ON journeys.zone_offsets (zone, local_to);
COMMENT ON TABLE journeys.zone_offsets IS 'every zone of zoneinfo, an offset a row: AT TIME ZONE is wrong around transitions (engine.md, 14)';

CREATE TABLE journeys.customer_profiles (
    customer_id         text PRIMARY KEY CHECK (length(customer_id) BETWEEN 1 AND 128),
    shard               smallint NOT NULL,
    email_address       text,
    phone_number        text,
    push_token          text,
    first_name          text,
    last_name           text,
    language            text,
    country             text,
    timezone            text,
    zone                text,
    zone_source         text NOT NULL DEFAULT 'none' CHECK (zone_source IN ('profile', 'invalid', 'none')),
    subscription_status text,
    lifetime_value      numeric,
    created_at          timestamptz,
    attributes          jsonb NOT NULL DEFAULT '{}',
    updated_at          timestamptz NOT NULL
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON COLUMN journeys.customer_profiles.zone IS 'the zone of zoneinfo that timezone names, null where it names none: then the policy''s default is used';

CREATE TABLE journeys.channel_consents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    channel     text NOT NULL,
    topic       text,
    state       text NOT NULL CHECK (state IN ('granted', 'withdrawn')),
    at          timestamptz NOT NULL,
    source      text NOT NULL,
    evidence    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX channel_consents_latest ON journeys.channel_consents (customer_id, channel, at DESC, id DESC);
COMMENT ON TABLE journeys.channel_consents IS 'append-only; the latest row of a customer and channel (and topic) wins over the policy; topic null = all topics';

CREATE TABLE journeys.suppressions (
    address_hmac bytea PRIMARY KEY,
    channel      text NOT NULL,
    reason       text NOT NULL,
    at           timestamptz NOT NULL,
    source       text NOT NULL
);

-- Keys present are set, null unsets, absent keys stay; a patch older than the profile only fills what is missing (architecture.md, D7).
-- ids must be distinct. Text is trimmed and '' is missing.
-- increments (optional): key -> number, added to what is there (missing counts as 0) whatever the patch's age.
CREATE FUNCTION journeys.apply_profiles(ids text[], patches jsonb[], ats timestamptz[], increments jsonb[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    changed bigint;
BEGIN
    -- sorted, so that two writers of the same people take their rows in one order
    INSERT INTO journeys.customer_profiles (customer_id, shard, updated_at)
    SELECT u.id, journeys.shard_of(u.id), '-infinity' FROM unnest(ids, patches) AS u (id, patch)
     WHERE jsonb_typeof(u.patch) = 'object' ORDER BY u.id
    ON CONFLICT (customer_id) DO NOTHING;
    -- lock in one statement, read in the next: a patch must see what the writer before it left (engine.md, 23)
    PERFORM 1 FROM journeys.customer_profiles l WHERE l.customer_id = ANY (ids) ORDER BY l.customer_id FOR UPDATE;

    WITH patch AS MATERIALIZED (
        SELECT u.id, u.at, k.*
          FROM unnest(ids, patches, ats) AS u (id, doc, at)
         CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg(e.key, e.value) FILTER (WHERE jsonb_typeof(e.value) <> 'null'), '{}') AS sets,
                   coalesce(array_agg(e.key), '{}') AS keys
              FROM (SELECT d.key, CASE WHEN jsonb_typeof(d.value) = 'string'
                                       THEN coalesce(to_jsonb(nullif(btrim(d.value #>> '{}'), '')), 'null'::jsonb) ELSE d.value END AS value
                      FROM jsonb_each(u.doc) AS d) AS e) AS k
         WHERE jsonb_typeof(u.doc) = 'object'
    )
    UPDATE journeys.customer_profiles AS p SET
        email_address = CASE WHEN 'email_address' = ANY (c.keys) AND (c.newer OR p.email_address IS NULL) THEN left(c.sets ->> 'email_address', 320) ELSE p.email_address END,
        phone_number = CASE WHEN 'phone_number' = ANY (c.keys) AND (c.newer OR p.phone_number IS NULL) THEN left(c.sets ->> 'phone_number', 64) ELSE p.phone_number END,
        push_token = CASE WHEN 'push_token' = ANY (c.keys) AND (c.newer OR p.push_token IS NULL) THEN left(c.sets ->> 'push_token', 1000) ELSE p.push_token END,
        first_name = CASE WHEN 'first_name' = ANY (c.keys) AND (c.newer OR p.first_name IS NULL) THEN left(c.sets ->> 'first_name', 1000) ELSE p.first_name END,
        last_name = CASE WHEN 'last_name' = ANY (c.keys) AND (c.newer OR p.last_name IS NULL) THEN left(c.sets ->> 'last_name', 1000) ELSE p.last_name END,
        language = CASE WHEN 'language' = ANY (c.keys) AND (c.newer OR p.language IS NULL) THEN left(c.sets ->> 'language', 64) ELSE p.language END,
        country = CASE WHEN 'country' = ANY (c.keys) AND (c.newer OR p.country IS NULL) THEN left(c.sets ->> 'country', 64) ELSE p.country END,
        subscription_status = CASE WHEN 'subscription_status' = ANY (c.keys) AND (c.newer OR p.subscription_status IS NULL) THEN left(c.sets ->> 'subscription_status', 64) ELSE p.subscription_status END,
        lifetime_value = CASE WHEN 'lifetime_value' = ANY (c.keys) AND (c.newer OR p.lifetime_value IS NULL) THEN journeys.num(c.sets -> 'lifetime_value') ELSE p.lifetime_value END,
        created_at = CASE WHEN 'created_at' = ANY (c.keys) AND (c.newer OR p.created_at IS NULL) THEN journeys.ts(c.sets -> 'created_at') ELSE p.created_at END,
        timezone = CASE WHEN c.zoned THEN left(c.sets ->> 'timezone', 200) ELSE p.timezone END,
        zone = CASE WHEN c.zoned THEN c.known_zone ELSE p.zone END,
        zone_source = CASE WHEN NOT c.zoned THEN p.zone_source WHEN c.known_zone IS NOT NULL THEN 'profile'
                           WHEN c.sets ? 'timezone' THEN 'invalid' ELSE 'none' END,
        attributes = CASE WHEN c.newer THEN (p.attributes - c.keys) || (c.sets - c.well_known) ELSE (c.sets - c.well_known) || p.attributes END,
        updated_at = greatest(p.updated_at, c.at)
    FROM (
        SELECT s.*, s.at >= q.updated_at AS newer,
               'timezone' = ANY (s.keys) AND (s.at >= q.updated_at OR q.timezone IS NULL) AS zoned,
               (SELECT z.zone FROM journeys.zone_offsets z WHERE z.zone = s.sets ->> 'timezone' LIMIT 1) AS known_zone,
               ARRAY['email_address', 'phone_number', 'push_token', 'first_name', 'last_name', 'language', 'country', 'timezone',
                     'subscription_status', 'lifetime_value', 'created_at'] AS well_known
          FROM patch s
          JOIN journeys.customer_profiles q ON q.customer_id = s.id
    ) AS c
    WHERE p.customer_id = c.id;
    GET DIAGNOSTICS changed = ROW_COUNT;

    IF increments IS NOT NULL THEN
        UPDATE journeys.customer_profiles AS p SET
            lifetime_value = CASE WHEN journeys.num(u.inc -> 'lifetime_value') IS NULL THEN p.lifetime_value
                                  ELSE coalesce(p.lifetime_value, 0) + journeys.num(u.inc -> 'lifetime_value') END,
            attributes = p.attributes || (
                SELECT coalesce(jsonb_object_agg(d.key, coalesce(journeys.num(p.attributes -> d.key), 0) + journeys.num(d.value)), '{}')
                  FROM jsonb_each(u.inc - 'lifetime_value') d WHERE journeys.num(d.value) IS NOT NULL)
          FROM unnest(ids, increments) AS u (id, inc)
         WHERE p.customer_id = u.id AND jsonb_typeof(u.inc) = 'object' AND u.inc <> '{}';
    END IF;
    RETURN changed;
END
$$;

-- Static segments: the last change of a (segment, customer) in the order given wins. Moves that change nothing write nothing.
CREATE FUNCTION journeys.apply_segments(segments text[], customers text[], changes text[], ats timestamptz[], source text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    entered bigint;
    gone bigint;
BEGIN
    WITH last AS MATERIALIZED (
        SELECT DISTINCT ON (u.segment, u.customer) u.* FROM unnest(segments, customers, changes, ats) WITH ORDINALITY AS u (segment, customer, change, at, n)
         ORDER BY u.segment, u.customer, u.n DESC)
    UPDATE journeys.segment_memberships m SET left_at = greatest(m.entered_at, l.at) FROM last l
     WHERE l.change = 'leave' AND m.segment_id = l.segment AND m.customer_id = l.customer AND m.left_at IS NULL;
    GET DIAGNOSTICS gone = ROW_COUNT;
    WITH last AS MATERIALIZED (
        SELECT DISTINCT ON (u.segment, u.customer) u.* FROM unnest(segments, customers, changes, ats) WITH ORDINALITY AS u (segment, customer, change, at, n)
         ORDER BY u.segment, u.customer, u.n DESC)
    INSERT INTO journeys.segment_memberships (segment_id, customer_id, entered_at, source)
    SELECT l.segment, l.customer, l.at, apply_segments.source FROM last l WHERE l.change = 'enter' ORDER BY l.segment, l.customer
    ON CONFLICT (customer_id, segment_id) WHERE left_at IS NULL DO NOTHING;
    GET DIAGNOSTICS entered = ROW_COUNT;
    RETURN entered + gone;
END
$$;

CREATE FUNCTION journeys.upsert_profile(customer_id text, profile jsonb, updated_at timestamptz DEFAULT journeys.clock_now()) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF customer_id IS NULL OR length(customer_id) NOT BETWEEN 1 AND 128 THEN
        RAISE EXCEPTION 'upsert_profile: customer_id must have 1 to 128 characters, got %', coalesce(length(customer_id)::text, 'null')
            USING ERRCODE = '22023';
    END IF;
    IF profile IS NULL OR jsonb_typeof(profile) <> 'object' THEN
        RAISE EXCEPTION 'upsert_profile: profile must be a JSON object, got %', coalesce(jsonb_typeof(profile), 'null') USING ERRCODE = '22023';
    END IF;
    IF octet_length(profile::text) > 65536 THEN
        RAISE EXCEPTION 'upsert_profile: profile must not be larger than 64 kB, got % bytes', octet_length(profile::text) USING ERRCODE = '22023';
    END IF;
    IF jsonb_path_exists(profile, 'strict $.**{100}') THEN
        RAISE EXCEPTION 'upsert_profile: profile must not be nested deeper than 100 levels' USING ERRCODE = '22023';
    END IF;
    IF updated_at IS NULL OR NOT isfinite(updated_at) THEN
        RAISE EXCEPTION 'upsert_profile: updated_at must be a point in time' USING ERRCODE = '22023';
    END IF;
    PERFORM journeys.apply_profiles(ARRAY[customer_id], ARRAY[profile], ARRAY[updated_at]);
END
$$;
COMMENT ON FUNCTION journeys.upsert_profile(text, jsonb, timestamptz) IS
    'the app contract for profiles: keys present are set, null unsets, absent keys stay';

-- ---------------------------------------------------------------------------------------------------------------
-- Journeys

CREATE TABLE journeys.customer_journeys (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id text NOT NULL,
    version     integer NOT NULL,
    customer_id text NOT NULL,
    shard       smallint NOT NULL,
    entry_key   text NOT NULL DEFAULT '',
    trigger_id  text NOT NULL,
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'ended')),
    step_key    text NOT NULL,
    step_uid    bigint NOT NULL,
    visit       integer NOT NULL DEFAULT 1,
    at          timestamptz NOT NULL,
    at_seq      bigint NOT NULL,
    due_at      timestamptz NOT NULL,
    due_seq     bigint NOT NULL,
    arrived_seq bigint,
    entered_at  timestamptz NOT NULL,
    entered_seq bigint NOT NULL,
    ended_at    timestamptz,
    exit_reason text CHECK (exit_reason IN ('completed', 'goal', 'exit_rule', 'unsubscribed', 'erased', 'version_retired', 'step_removed', 'error', 'manual', 'expired')),
    held_at     timestamptz,
    held_out    boolean NOT NULL DEFAULT false,
    CONSTRAINT ended_has_a_reason CHECK ((status = 'ended') = (ended_at IS NOT NULL) AND (status = 'ended') = (exit_reason IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX customer_journeys_due ON journeys.customer_journeys (due_at) WHERE status = 'active' AND held_at IS NULL;
CREATE INDEX customer_journeys_step_due ON journeys.customer_journeys (step_uid, due_at) WHERE status = 'active' AND held_at IS NULL;
CREATE INDEX customer_journeys_customer ON journeys.customer_journeys (customer_id, workflow_id);
COMMENT ON COLUMN journeys.customer_journeys.at IS 'with at_seq the journey''s logical clock: when it reached the step it waits at';
COMMENT ON COLUMN journeys.customer_journeys.due_seq IS 'with due_at where it goes on: 9223372036854775807 for a timer, the event''s seq for a wake';

CREATE TABLE journeys.journey_context (
    journey_id  bigint PRIMARY KEY,
    event_type  text NOT NULL,
    event       jsonb NOT NULL
);
COMMENT ON TABLE journeys.journey_context IS 'the keys of the entry event''s payload that the workflow names';

CREATE TABLE journeys.journey_admissions (
    workflow_id     text NOT NULL,
    customer_id     text NOT NULL,
    entry_key       text NOT NULL DEFAULT '',
    entries         integer NOT NULL,
    active          integer NOT NULL CHECK (active >= 0),
    last_entered_at timestamptz NOT NULL,
    last_ended_at   timestamptz,
    PRIMARY KEY (workflow_id, customer_id, entry_key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE journeys.journey_admissions IS 'who may enter again: one row decides, so two entries at once cannot both pass (engine.md, 9)';

CREATE TABLE journeys.journey_transitions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    journey_id  bigint NOT NULL,
    workflow_id text NOT NULL,
    version     integer NOT NULL,
    customer_id text NOT NULL,
    visit       integer NOT NULL,
    from_step   text,
    to_step     text,
    at          timestamptz NOT NULL,
    at_seq      bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    why         text NOT NULL,
    detail      jsonb
);
CREATE INDEX journey_transitions_journey ON journeys.journey_transitions (journey_id);
CREATE INDEX journey_transitions_at ON journeys.journey_transitions USING brin (at);
COMMENT ON TABLE journeys.journey_transitions IS 'append-only; from_step null = entered, to_step null = ended; detail = the rule and the values it saw';

CREATE TABLE journeys.split_assignments (
    workflow_id text NOT NULL,
    step_key    text NOT NULL,
    customer_id text NOT NULL,
    arm         text NOT NULL,
    version     integer NOT NULL,
    assigned_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, step_key, customer_id)
);

CREATE TABLE journeys.conversions (
    journey_id  bigint NOT NULL,
    event_seq   bigint NOT NULL,
    workflow_id text NOT NULL,
    version     integer NOT NULL,
    customer_id text NOT NULL,
    event_type  text NOT NULL,
    at          timestamptz NOT NULL,
    value       numeric,
    exposed     boolean NOT NULL,
    PRIMARY KEY (journey_id, event_seq)
);

CREATE TABLE journeys.workflow_action_logs (
    journey_id  bigint NOT NULL,
    step_key    text NOT NULL,
    action_id   text NOT NULL,
    visit       integer NOT NULL,
    workflow_id text NOT NULL,
    version     integer NOT NULL,
    customer_id text NOT NULL,
    kind        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('done', 'held_out', 'failed')),
    reason      text,
    at          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    detail      jsonb,
    PRIMARY KEY (journey_id, step_key, action_id, visit)
);

CREATE TABLE journeys.tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    journey_id  bigint NOT NULL,
    step_key    text NOT NULL,
    action_id   text NOT NULL,
    visit       integer NOT NULL,
    workflow_id text NOT NULL,
    customer_id text NOT NULL,
    title       text NOT NULL,
    body        text,
    assignee    text,
    due_at      timestamptz,
    status      text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    created_at  timestamptz NOT NULL,
    UNIQUE (journey_id, step_key, action_id, visit)
);

-- ---------------------------------------------------------------------------------------------------------------
-- The send ledger (delivery.md)

CREATE TABLE journeys.messages (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_key         text NOT NULL,
    journey_id          bigint NOT NULL,
    step_key            text NOT NULL,
    action_id           text NOT NULL,
    visit               integer NOT NULL,
    slot                text NOT NULL,
    workflow_id         text NOT NULL,
    workflow_version    integer NOT NULL,
    customer_id         text NOT NULL,
    shard               smallint NOT NULL,
    entry_key           text NOT NULL DEFAULT '',
    channel             text NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'webhook')),
    category            text NOT NULL CHECK (category IN ('marketing', 'transactional')),
    topic               text,
    variant             text,
    priority            integer NOT NULL DEFAULT 0,
    arrived_seq         bigint,
    planned_at          timestamptz NOT NULL,
    created_at          timestamptz NOT NULL,
    send_after          timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    state               text NOT NULL CHECK (state IN ('planned', 'deferred', 'sending', 'retry', 'in_doubt', 'accepted', 'failed', 'suppressed', 'held_out', 'dead')),
    reason              text,
    attempts            smallint NOT NULL DEFAULT 0,
    doubts              smallint NOT NULL DEFAULT 0,
    lease_epoch         integer NOT NULL DEFAULT 0,
    lease_until         timestamptz,
    address_hmac        bytea,
    provider            text,
    provider_message_id text,
    claimed_at          timestamptz,
    accepted_at         timestamptz,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT messages_once UNIQUE (journey_id, step_key, action_id, visit, slot),
    CONSTRAINT messages_key UNIQUE (message_key),
    CONSTRAINT sending_has_a_lease CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CONSTRAINT accepted_has_a_time CHECK ((state = 'accepted') = (accepted_at IS NOT NULL)),
    CONSTRAINT ends_with_a_reason CHECK (state NOT IN ('suppressed', 'failed', 'dead', 'in_doubt', 'retry') OR reason IS NOT NULL)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX messages_outbox ON journeys.messages (send_after) WHERE state IN ('planned', 'deferred', 'retry');
CREATE INDEX messages_leases ON journeys.messages (lease_until) WHERE state = 'sending';
CREATE INDEX messages_in_doubt ON journeys.messages (updated_at) WHERE state = 'in_doubt';
CREATE INDEX messages_customer ON journeys.messages (customer_id);
COMMENT ON TABLE journeys.messages IS 'the send ledger: a row is created once per (journey, step, action, visit, slot)';
COMMENT ON COLUMN journeys.messages.planned_at IS 'logical time: when the journey reached the action; created_at is the clock''s time of the row';
COMMENT ON COLUMN journeys.messages.doubts IS 'how many sends ended without an answer: a transactional message is sent once more after the first';

CREATE TABLE journeys.message_bodies (
    message_id bigint PRIMARY KEY,
    address    text,
    subject    text,
    body_text  text,
    body_html  text,
    headers    jsonb NOT NULL DEFAULT '{}',
    frozen_at  timestamptz NOT NULL
);
COMMENT ON TABLE journeys.message_bodies IS 'what was rendered, frozen when the send was claimed: a retry sends the same bytes';

-- sha256 of the ledger key with this database's salt, the first 16 bytes as hex: idempotency key, Message-ID, webhook-id
CREATE FUNCTION journeys.message_key(salt text, journey_id bigint, step_key text, action_id text, visit integer, slot text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(substr(sha256(convert_to(salt || chr(31) || journey_id::text || chr(31) || step_key || chr(31) || action_id || chr(31) || visit::text || chr(31) || slot, 'UTF8')), 1, 16), 'hex');

-- ---------------------------------------------------------------------------------------------------------------
-- Rights: an app may append, and nothing else.

DO $$ BEGIN
    -- asked first: a role that may not create roles can migrate where an administrator has made this one
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_writer') THEN CREATE ROLE app_writer NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA journeys FROM PUBLIC;
GRANT USAGE ON SCHEMA journeys TO app_writer;
GRANT INSERT (source, source_event_id, customer_id, type, occurred_at, payload, profile) ON journeys.event_inbox TO app_writer;
GRANT INSERT (segment_id, customer_id, change, occurred_at) ON journeys.segment_changes TO app_writer;
GRANT EXECUTE ON FUNCTION journeys.upsert_profile(text, jsonb, timestamptz), journeys.clock_now() TO app_writer;
