/**
 * Where each row of the catalogue is tested: rows A (text), B (prepared statements, batches, state), C (objects and privileges) and D (identity and
 * transport). `says` is a piece of the test's own title or text, so that a test that is renamed or taken away is missed (`coverage.test.ts`).
 */
export interface Covered {
  /** From the repository's root. */
  readonly file: string
  readonly says: string
}

const attacks = (name: string, says: string): Covered => ({ file: `test/e2e/attacks/${name}`, says })
const texts = (row: string): Covered => attacks('texts.ts', `row: '${row}'`)
const objects = (row: string): Covered => attacks('objects.ts', `row: '${row}'`)
const privileges = (row: string): Covered => attacks('privileges.ts', `row: '${row}'`)
const bytes = (says: string): Covered => attacks('bytes.e2e.test.ts', says)
const sessions = (says: string): Covered => attacks('sessions.e2e.test.ts', says)
const hostile = (says: string): Covered => ({ file: 'test/e2e/hostile.e2e.test.ts', says })
const verdicts = (says: string): Covered => ({ file: 'test/e2e/verdicts.e2e.test.ts', says })
const analyser = (says: string): Covered => ({ file: 'src/cql/statement/attacks.test.ts', says })
const states = (says: string): Covered => ({ file: 'test/path/states.test.ts', says })
const sidecar = (says: string): Covered => ({ file: 'test/path/sidecar.test.ts', says })
const requests = (says: string): Covered => ({ file: 'src/cql/requests.test.ts', says })
const inbound = (says: string): Covered => ({ file: 'src/cql/inbound.test.ts', says })
const logIns = (says: string): Covered => ({ file: 'test/e2e/log-ins/refusals.ts', says })
const path = (name: string, says: string): Covered => ({ file: `test/path/${name}.test.ts`, says })
const identity = (name: string, says: string): Covered => ({ file: `src/identity/${name}.test.ts`, says })
const session = (name: string, says: string): Covered => ({ file: `src/session/${name}.test.ts`, says })
const control = (name: string, says: string): Covered => ({ file: `src/control/${name}.test.ts`, says })

export const coverage: ReadonlyMap<string, readonly Covered[]> = new Map<string, readonly Covered[]>([
  ['A1', [texts('A1'), analyser('A1 line comments')]],
  ['A2', [texts('A2'), analyser('A2 block comments'), attacks('variants.test.ts', 'has the facts of the statement')]],
  ['A3', [texts('A3'), analyser('A3 quoted names')]],
  ['A4', [texts('A4'), analyser('A4 keywords as names')]],
  ['A5', [texts('A5'), analyser('A5 characters that look like others')]],
  ['A6', [texts('A6'), bytes('A6 malformed UTF-8'), requests('malformed UTF-8'), analyser('A6 text inside quotes')]],
  ['A7', [texts('A7'), analyser('A7 backslashes')]],
  ['A8', [texts('A8'), analyser('A8 $$ strings')]],
  ['A9', [texts('A9'), analyser('A9 one statement')]],
  ['A10', [texts('A10'), analyser('A10 batches'), bytes('a batch of 65,535 statements')]],
  ['A11', [bytes('A11 statements made to be expensive'), analyser('A11 statements made to be expensive')]],
  ['A12', [texts('A12'), analyser('A12 grammar')]],
  ['A13', [texts('A13'), analyser('A13 names that are traps')]],
  ['A14', [sessions('A14 what is bound'), privileges('C17')]],
  ['B1', [sessions('B1 a prepared statement keeps its keyspace')]],
  ['B2', [sessions('B2 B3 ids')]],
  [
    'B3',
    [
      sessions('B2 B3 ids'),
      verdicts('an id of admin’s is unknown to reader'),
      sidecar('its ids mean nothing to anybody else'),
    ],
  ],
  // Two texts with one MD5 cannot be had by hand: a node that answers with the id of another text stands in.
  ['B4', [attacks('collision.test.ts', 'B4 one prepared id for two texts')]],
  [
    'B5',
    [
      sessions('B5 batches of texts and ids'),
      bytes('names for the values of a batch'),
      verdicts('one part that is refused'),
    ],
  ],
  ['B6', [verdicts('takes effect on a live session within a second'), sidecar('is judged anew on a live session')]],
  ['B7', [sessions('B7 a table that becomes a view')]],
  [
    'B8',
    [
      sessions('hide a column that is added under a prepared SELECT *'),
      objects('C2'),
      sidecar('when the columns became others'),
    ],
  ],
  [
    'B9',
    [
      sessions('B9 a flood of statements to prepare'),
      { file: 'test/path/prepares.test.ts', says: 'is shed beyond the burst and the rate' },
      { file: 'src/sidecar/prepared.test.ts', says: 'what an identity may have prepared' },
      { file: 'src/sidecar/prepared.test.ts', says: 'are forgotten when there are too many' },
    ],
  ],
  [
    'B10',
    [
      bytes('B10 messages out of their state'),
      hostile('AUTH_RESPONSE after success'),
      hostile('a second STARTUP'),
      hostile('a request before STARTUP'),
      states('OPTIONS without end'),
    ],
  ],
  ['B11', [sessions('B11 a USE is nobody else’s'), sidecar('changes its keyspace with the node’s result only')]],
  [
    'B12',
    [
      bytes('B12 streams'),
      hostile('a stream id in flight'),
      states('a negative stream is the end'),
      sidecar('when they come late they reach nobody'),
    ],
  ],
  ['B13', [bytes('B13 many requests in one write'), hostile('a request right behind STARTUP, before READY')]],
  ['B14', [bytes('B14 custom payload'), sidecar('is taken off')]],
  ['B15', [bytes('B15 compression'), inbound('where nothing was agreed')]],
  [
    'B16',
    [
      bytes('B16 what stands where nothing should'),
      hostile('bytes behind the end of a message'),
      requests('with two values for a key'),
    ],
  ],
  [
    'B17',
    [
      bytes('B17 segments of v5 that lie'),
      hostile('a truncated segment'),
      hostile('a wrong CRC'),
      hostile('a self-contained segment that ends inside an envelope'),
      inbound('refuses padding bits although their checksum is right'),
    ],
  ],
  ['B18', [bytes('B18 lengths and counts'), hostile('a length of 2³¹'), requests('with a length near 2^31')]],
  ['B19', [sessions('B19 pages'), { file: 'src/sidecar/seal.test.ts', says: 'does not open with any bit changed' }]],
  [
    'B20',
    [sessions('B8 B20 masks'), { file: 'src/cql/answers/mask.test.ts', says: 'without its columns is not shown' }],
  ],
  ['C1', [objects('C1')]],
  ['C2', [objects('C2')]],
  ['C3', [objects('C3')]],
  ['C4', [objects('C4'), analyser('a conditional write is a read as well')]],
  ['C5', [objects('C5')]],
  [
    'C6',
    [
      objects('C6'),
      { file: 'src/policy/data/classes.test.ts', says: 'are refused to everyone where they are others' },
      { file: 'src/cql/statement/classes.test.ts', says: 'classes that a statement names' },
    ],
  ],
  ['C7', [privileges('C7'), attacks('statements.e2e.test.ts', 'holds no password')]],
  ['C8', [privileges('C8')]],
  [
    'C9',
    [
      privileges('C9'),
      sessions('C9 C10 what may be seen'),
      { file: 'src/sidecar/describe/describe.test.ts', says: 'a row of DESCRIBE' },
    ],
  ],
  [
    'C10',
    [
      sessions('C9 C10 what may be seen'),
      { file: 'test/path/schema-questions.test.ts', says: 'is in no aggregate, group, limit or range' },
      { file: 'test/oracle/schema.oracle.test.ts', says: 'are answered as by a node that has only what may be seen' },
      { file: 'test/path/gateway.test.ts', says: 'answers system.local itself' },
    ],
  ],
  ['C11', [privileges('C11')]],
  ['C12', [privileges('C12'), sessions('C12 tracing')]],
  ['C13', [privileges('C13')]],
  ['C14', [privileges('C14'), { file: 'src/policy/load.test.ts', says: 'refuses a wildcard over system keyspaces' }]],
  ['C15', [privileges('C15')]],
  ['C16', [privileges('C16')]],
  ['C17', [privileges('C17'), { file: 'src/policy/data/check.test.ts', says: 'refuses now_in_seconds' }]],
  ['C18', [privileges('C18')]],
  ['C19', [sessions('C19 what is forbidden and what is not there')]],
  ['C20', [sessions('C20 events'), { file: 'test/path/gateway.test.ts', says: 'reach the client that registered' }]],
  [
    'D1',
    [
      identity('certificate', 'D1: refuses no URI name and two of them'),
      identity('certificate', 'D1: takes no id from a common name, a DNS name or an other-name'),
      identity('certificate', 'D1: refuses every id that is not strictly one'),
    ],
  ],
  [
    'D2',
    [
      identity('certificate', 'D2: refuses authorities and wrong key usages'),
      identity('certificate', 'D2: refuses weak and strange keys'),
      identity('chain', 'D2: is refused beyond four intermediates'),
      logIns('it is signed by its own key, and by no authority'),
      logIns('it is for servers only'),
      hostile('an expired certificate'),
    ],
  ],
  [
    'D3',
    [
      identity('certificate', 'D3: refuses an id of another trust domain'),
      logIns('it is by the authority of another trust domain'),
      path('clouds', 'a JWT-SVID of ours by another trust domain’s keys'),
    ],
  ],
  [
    'D4',
    [
      identity('spiffe', 'never matches by prefix, by trust domain, or a path that is not deeper'),
      { file: 'src/policy/engine.test.ts', says: 'of identities match by whole segments' },
    ],
  ],
  [
    'D5',
    [
      path('tls', 'is of version 1.3, and of no other'),
      path('tls', 'chooses nothing by the name that it asks for'),
      path('tls', 'makes no client a mesh link by the protocol that it offers'),
      path('tls', 'is never resumed'),
      path('tls', 'takes no TLS, and answers plain CQL'),
      control('tls-facts', 'with SSL_OP_NO_TICKET nothing resumes'),
      hostile('TLS 1.2'),
      hostile('plain CQL on the TLS port'),
    ],
  ],
  [
    'D6',
    [
      logIns('its algorithm is none, and it has no signature'),
      logIns('the public key is taken for a shared secret'),
      logIns('it is longer than an AUTH_RESPONSE may be'),
      identity('jwt/verify', 'by the key in its own header'),
      identity('jwt/verify', 'a kid that is a path'),
      identity('jwt/verify', 'crit that is unknown'),
      identity('jwt/verify', 'a token in a token'),
      identity('jwt/verify', 'sub twice, once escaped'),
      path('on-behalf', 'txntoken+jwt'),
    ],
  ],
  [
    'D7',
    [
      logIns('it is for another service'),
      logIns('its issuer has a slash more'),
      logIns('its end was a second ago'),
      logIns('it begins in ten minutes'),
      logIns('it was used while it was good, and is shown again after its end'),
      identity('jwt/verify', 'not said when it was issued'),
      identity('jwt/verify', 'of another client'),
      identity('jwt/verify', 'living too long'),
    ],
  ],
  [
    'D8',
    [
      logIns('it is by a key that the issuer does not publish'),
      control('key-sets/key-sets', 'is asked for no more often than each 30 s'),
      control('key-sets/key-sets', 'stays while the provider is away'),
      control('key-sets/key-sets', 'is each change at once, also that keys are fewer or none'),
      path('tokens', 'goes on by the keys that are there: a new key, none of before, none at all'),
      { file: 'test/outage/outage.test.ts', says: 'costs no session that is good and no log-in by a known key' },
    ],
  ],
  [
    'D9',
    [
      identity('aws/presigned', 'names STS by a host of the list, and by nothing else'),
      { file: 'src/mesh/call-out.test.ts', says: 'tells what was answered, and follows no redirect' },
      { file: 'src/mesh/call-out.test.ts', says: 'goes to public addresses only' },
      { file: 'src/mesh/call-out.test.ts', says: 'asks for the address once, and calls that one' },
      control('key-sets/key-sets', 'are asked for at public addresses only'),
    ],
  ],
  [
    'D10',
    [
      logIns('it is signed for another mesh'),
      logIns('another address used it first'),
      logIns('it is for STS of another partition'),
      identity('aws/presigned', 'has each parameter once, and none that is not on the list'),
      identity('aws/presigned', 'lives 15 minutes from its date, whatever it says of its end'),
      identity('aws/sts', 'is JSON of just that shape, and nothing else'),
    ],
  ],
  [
    'D11',
    [
      session('proxy-header', 'v2 with a TLV that overruns it'),
      session('proxy-header', 'v2 LOCAL with an address that is not to be believed'),
      session('proxy-header', 'v2 of a UNIX socket'),
      session('proxy-header', 'leaves a second header to the client'),
      path('gateway', 'is mandatory where it is configured, and refused from a stranger'),
      hostile('is taken from NGINX’s address, and refused from any other'),
    ],
  ],
  [
    'D12',
    [
      path('web-applications', 'lets nobody in by what is not to be believed'),
      { file: 'src/gateway/http/headers.test.ts', says: 'is refused where it could be read in two ways' },
      control('control', 'answers who has no certificate nothing but enrol, whatever headers say'),
    ],
  ],
  [
    'D13',
    [
      path('tokens', 'is no longer looked at where too many were refused'),
      path('tokens', 'is refused with one text for all drivers and all causes'),
      path('proofs', 'has no end of answers, no long ones, and no request before it is accepted'),
      path('proofs', 'ends after handshakeTimeoutMs, here and across a mesh link'),
      path('clouds', 'with AWS’s SigV4 plug-in hears what to do'),
      session('listener-config', 'without TLS is allowed on loopback only'),
    ],
  ],
  [
    'D14',
    [
      path('tokens', 'ends its session at its end, when what is in flight was answered'),
      path('session-ends', 'ends 50 connections of one certificate over the last tenth of its life'),
      verdicts('takes effect on a live session within a second'),
      { file: 'test/e2e/log-ins/refusal-suite.ts', says: 'is refused with the evidence that was good' },
    ],
  ],
  [
    'D15',
    [
      control('control', 'an older revision is refused (attack D15)'),
      sidecar('is judged anew on a live session'),
      { file: 'src/policy/engine.test.ts', says: 'is good in the epoch of its decision only' },
      { file: 'test/path/permit.test.ts', says: 'is refused as a whole, in whichever turn of its judging that is' },
    ],
  ],
  [
    'D16',
    [
      { file: 'test/e2e/bypass.e2e.test.ts', says: 'refuses another certificate of the same CA' },
      { file: 'test/e2e/bypass.e2e.test.ts', says: 'refuses the gateway’s certificate' },
      { file: 'test/e2e/bypass.e2e.test.ts', says: 'refuses a connection without TLS' },
      path('gateway', 'answers system.local itself'),
    ],
  ],
  [
    'D17',
    [
      { file: 'test/e2e/bypass.e2e.test.ts', says: 'gives its sidecar a role that is no superuser' },
      { file: 'src/sidecar/one-way.test.ts', says: 'is asked for by few, and by a permit' },
      { file: 'src/policy/own-permit.test.ts', says: 'leave for the sidecar’s own questions' },
    ],
  ],
  [
    'D18',
    [
      control('control', 'gives the identity that the token is for, once'),
      control('control', 'refuses a token that is late, for another role, unknown, or no token at all'),
      control('control', 'keeps only the hash of a token'),
      control('control', 'keeps its keys, store and socket from others'),
      control('routes', 'each line to those who may and to nobody else'),
      control('admission', 'looks at the token before anything else'),
      control('token-exchange', 'is bounded by who it is, so that nobody takes the share of others'),
    ],
  ],
])
