/**
 * Every bound of the data path: name, default, and why. `docs/limits.md` lists the same names; a test keeps them equal.
 * A limit is compared with a length while only the header has been read, before memory is taken.
 */
export const limits = {
  /** One CQL message body after decompression. Cassandra's own default is 16 MiB. */
  messageBytesMax: 16 * 1024 * 1024,
  /** One answer of the node; the specification's own bound (native_protocol_v5.spec §2). */
  answerBytesMax: 256 * 1024 * 1024,
  /** A body before the session is ready: STARTUP, OPTIONS, AUTH_RESPONSE (Cassandra 5.0.3: 128 KiB). */
  authMessageBytesMax: 64 * 1024,
  /** Everything that one connection may send before it is ready. */
  unauthenticatedBytesMax: 256 * 1024,
  /** AUTH_RESPONSEs of one connection, those of attempts that were refused included; the next one ends it. */
  authResponsesMax: 16,
  /** Tokens of one identity provider whose verification a process remembers until they end, in hashes; the least recently used go first. */
  verifiedTokensMax: 10_000,
  /** A transaction token, or a name in its place, in the custom payload of a request. */
  txnTokenBytesMax: 16 * 1024,
  /** Transaction tokens, added up, of which a sidecar remembers until their end on whose behalf they are, by hash: some 20,000; the least recently used go first. */
  txnTokensRememberedBytesMax: 16 * 1024 * 1024,
  /** And of which it remembers for a second that they are none. */
  txnTokensRefusedRememberedMax: 1_000,
  /** Transaction tokens that the control plane makes for one workload or gateway at once. */
  txnTokensPerCallerBurstMax: 2_000,
  /** And each second from then on. One is for minutes, so an application with ten thousand people asks for some forty. */
  txnTokensPerCallerPerSecondMax: 200,
  /** Tokens and names of one session that are kept ready; more are looked up anew, at a few microseconds each. */
  behalvesPerSessionMax: 32,
  /** Tokens of the browsers that are logged in at a gateway, added up; and again, transaction tokens that it keeps. The least recently used go first. */
  httpSessionsBytesMax: 64 * 1024 * 1024,
  /** Browsers that are at their identity provider to log in. Where there are more, the address with most forgets its oldest; an IPv6 address counts with its /64. */
  httpLogInsMax: 10_000,
  /** Connections of NGINX to a gateway that it asks who somebody is. */
  httpConnectionsMax: 1_024,
  /** The password that a pre-signed request of AWS STS is. */
  presignedBytesMax: 4096,
  /** Pre-signed requests of which a process remembers, for their 15 minutes, who signed them and which address used them first. Where there are more, the role with most forgets its oldest. */
  presignedRememberedMax: 65_536,
  firstUsesAskedMax: 2,
  firstUseMsMax: 2_000,
  /** Tokens of which a process remembers for 10 s what a Kubernetes API server said; the least recently used go first. */
  tokenReviewsRememberedMax: 16_384,
  /** Log-ins for which a server outside (AWS STS, a Kubernetes API server) is asked at one time, for each of them; others wait. Half of them are of one address. */
  outsideAskedMax: 64,
  /** So many, and of one address no more than there is room left for others; more are refused, and may come again. The addresses take turns. */
  outsideWaitingMax: 1_024,
  /** It has answered by then. */
  outsideTimeoutMs: 5_000,
  /** Its answer. */
  outsideAnswerBytesMax: 64 * 1024,
  /** Log-ins of one address that may be refused at once; then the next ones are refused unread. An IPv6 address counts with its /64. Of those who had a session from there as who they claim to be, as many more. */
  logInsRefusedPerAddressBurstMax: 500,
  /** And each second from then on. */
  logInsRefusedPerAddressPerSecondMax: 50,
  /** The same of those who claim to be one and the same, from whatever address; where that one had a session, from that address. */
  logInsRefusedPerClaimBurstMax: 200,
  /** And each second from then on. */
  logInsRefusedPerClaimPerSecondMax: 20,
  /** Refused log-ins that a process tells apart in its next report, equal ones added up; of more the report has the number. */
  refusalsReportedMax: 200,
  /** And so many bytes of them, as JSON; of one address a quarter. */
  refusalsReportedBytesMax: 256 * 1024,
  /** And of one address: its last ones. An IPv6 address counts with its /64. */
  refusalsReportedPerAddressMax: 20,
  /** Refused log-ins of all proxies that the control plane remembers apart; those of the address that was silent longest go first. */
  refusalsRememberedMax: 10_000,
  /** And so many bytes of them, as JSON; of one address a quarter. */
  refusalsRememberedBytesMax: 8 * 1024 * 1024,
  /** And of one address: its last ones. */
  refusalsRememberedPerAddressMax: 50,
  /** Revocations in force; a further one is refused, but for one whose time is over. */
  revocationsMax: 100_000,
  /** Of them patterns, which are looked at one by one when a session begins. */
  revocationPatternsMax: 256,
  /** What is revoked, in characters, and a reason. */
  revokedValueCharsMax: 2_048,
  /** And of all of them in bytes, as proxies are told of them. */
  revocationsBytesMax: 16 * 1024 * 1024,
  /** Those that have ended, which `ringfence identity revocations --all` shows; the oldest go first. */
  revocationsEndedMax: 100_000,
  /** What a client that is thrown out has in flight is answered for so long; then its connection is cut off. */
  thrownOutMsMax: 1_000,
  /** Once an authority is tainted, whoever has a certificate of it has another by then; what was built on the old one is ended from then on. */
  taintedLeafMsMax: 60_000,
  /** And so long that takes: connections of one client are not ended at one moment, and each host has a turn. */
  taintedSpreadMsMax: 30_000,
  /** What a certificate that is got for a token says besides its subject: person, groups, role and claims; for more there is none. */
  exchangedBytesMax: 8 * 1024,
  /** Pre-signed requests that the control plane keeps as exchanged, for their 15 minutes and through a restart; while there are so many, no other is. */
  exchangedRememberedMax: 65_536,
  /** And of one role or user: more than its budget of certificates lets it have. */
  exchangedRememberedPerIdentityMax: 2_048,
  /** Addresses, claimed identities, and pairs of both, of whose log-ins a process remembers something; the least recently used go first. */
  clientsRememberedMax: 50_000,
  /** The text of one statement. */
  statementBytesMax: 2 * 1024 * 1024,
  /** Statements in one BATCH message; the count is a [short]. */
  batchPartsMax: 65_535,
  /** The texts of one BATCH added up. */
  batchTextBytesMax: 2 * 1024 * 1024,
  /** Nesting of parentheses, collections and types in a statement. */
  nestingDepthMax: 64,
  /** Tokens in one statement; a cap on work: 350 KB of a BATCH of short INSERTs, where Cassandra by default takes 50 KiB of them. */
  statementTokensMax: 131_072,
  /**
   * What one statement may say: relations, inserted columns, assignments of more than a constant, calls of user functions, and different
   * columns that it names. It may call an eighth as many different functions. In a BATCH text each distinct statement costs 4; a repeat
   * with its own TTL or timestamp costs 2.
   */
  statementFactsMax: 8_192,
  /** Of the columns of one answer or prepared statement, where they have to be read; of more rows the record has no count. */
  metadataBytesMax: 256 * 1024,
  /** Elements of one set or map whose elements are masked: they are sorted anew. */
  maskedElementsMax: 65_536,
  /** Entries of a [string map], [string list] or custom payload that a client may send. */
  mapEntriesMax: 64,
  /** Requests in flight on one client connection. Drivers use 1,024 to 2,048 by default; the protocol's bound is 32,768. */
  streamsInFlightMax: 32_768,
  /** Requests in flight towards the node on one upstream connection: all that one client connection may have. Where all are full, an identity with few in flight has a connection more. */
  upstreamStreamsMax: 32_768,
  /** Bytes waiting for a slow reader before we stop reading its requests. */
  outboxHighWaterBytes: 1024 * 1024,
  /** A slow reader that takes less than this over `stalledReaderMs` is closed (attack E3): 2 Mbit/s, so that the most that waits for one is gone in nine minutes. */
  readerBytesPerSecondMin: 256 * 1024,
  /** Over so long a slow reader's rate is measured. */
  stalledReaderMs: 30_000,
  /** TLS, STARTUP and the log-in must be over by then. */
  handshakeTimeoutMs: 10_000,
  /** The PROXY header must be complete by then. */
  proxyHeaderTimeoutMs: 5_000,
  /** Longest PROXY v2 header that is read; v1 is at most 107 bytes by its specification. */
  proxyHeaderBytesMax: 4096,
  /** Upstream pools at one sidecar: one for each protocol version and keyspace in use; the longest idle go first. */
  upstreamPoolsMax: 512,
  /** An answer from the node that takes longer ends the request (never the stream id's quarantine). Above all of the node's own: `native_transport_timeout` is 100 s, `truncate_request_timeout` 60 s. */
  requestTimeoutMs: 120_000,
  /** A session ends at the latest after this, whatever its proof says; drivers reconnect by themselves. */
  sessionMsMax: 24 * 3_600_000,
  sessionMsMin: 1_000,
  /** A client that is to go is served for so long, until a moment comes in which nothing of it is in flight. Then it is drained. */
  leaveMsMax: 1_000,
  /** So long where it asked to be told (GRACEFUL_DISCONNECT): it goes by itself when its last answer has come. */
  leaveToldMsMax: 5_000,
  /** Of a client that is drained: what is in flight is finished, and what it sends is refused. Then it is cut off, but where its proof has ended: what is in flight then has `requestTimeoutMs` in all. */
  drainMsMax: 30_000,
  /** And so long after its last answer, while it sends without a pause: what it sends is refused still. */
  drainLingerMsMax: 100,
  /** Connections of known clients at one process. Where all are taken, a newcomer takes the newest of the identity that has most. */
  connectionsMax: 12_000,
  /** Of them from one client address, as the PROXY header says it where there is one; an IPv6 address counts with its /64. */
  connectionsPerAddressMax: 2_000,
  /** Of them of one identity; what is left is for others. */
  connectionsPerIdentityMax: 10_000,
  /** Connections of one process that have not proved an identity yet; beyond that the oldest of the address with most is dropped. */
  handshakesMax: 2_000,
  /** Of them from one address; its oldest is dropped. A client that starts opens some hundred at once. */
  handshakesPerAddressMax: 500,
  /** Connections a second of one address that prove nothing, where somebody has proved who he is before; twice as many at once. Elsewhere a tenth, and a half at once. More are reset before TLS. */
  handshakesPerAddressPerSecondMax: 1_000,
  /** Prepared statements remembered for one identity; the least recently used go first. */
  preparedPerIdentityMax: 10_000,
  /** Identities, each with a protocol version, whose statements a gateway worker remembers for routing; those without sessions go first. */
  statementTablesMax: 1_024,
  /** The PREPAREs that a gateway worker keeps, to give them to further sidecars; the identity with most of them loses its own. */
  statementTablesBytesMax: 64 * 1024 * 1024,
  /** Statements that one identity may have a node prepare at once, beside those that it prepared before (B9). A large service with its drivers' own queries has some hundred; a whole test suite of a driver some thousand. */
  preparesBurstMax: 2_000,
  /** And each second from then on: more than people and deployments need, where a flood of literals brings thousands. */
  preparesPerSecondMax: 100,
  /** Identities, persons and addresses, each by each `RateLimitPolicy`, of which a sidecar remembers what they took; where there are more, one that owes nothing goes first. */
  rateKeysMax: 65_536,
  /** What remembered statements may weigh in a sidecar, four bytes for a character and 1 KiB for each, where its heap lets so much: an eighth of the heap's bound. A quarter of that for one identity. */
  statementMemoryBytesMax: 256 * 1024 * 1024,
  /** Verdicts remembered at one sidecar; the least recently used go first. */
  decisionsMax: 50_000,
  /** Different permissions that one statement may need (tables of a BATCH, columns that rules tell apart); each may cost an evaluation. */
  accessesPerStatementMax: 256,
  /** Sessions that gateways have at one sidecar, over all mesh links. Where all are taken, a newcomer takes the newest of the identity that has most. */
  linkedSessionsMax: 65_536,
  /** Of them for clients at one address; an IPv6 address counts with its /64. */
  linkedSessionsPerAddressMax: 16_384,
  /** Of them of one identity: half, so that none has them all. */
  linkedSessionsPerIdentityMax: 32_768,
  /** Answers about a mesh link itself that wait for a gateway, before the link is closed. What waits of a session is its account's. */
  linkWaitingBytesMax: 64 * 1024 * 1024,
  /**
   * Milliseconds of the event loop that one client may have in a turn, over all its connections, for what costs more than passing on. It
   * may have as many for reading what it sends. The rest waits for the next turn.
   */
  loopShareMs: 4,
  /** Requests of one session that wait: for the answer to a USE, a connection to the node, the schema, the reading of a long statement. As many as it may have in flight. */
  heldRequestsMax: 32_768,
  /** Bytes that may wait in one process, where its heap and its container let so much: a third of the heap's bound, a quarter of the container's. */
  waitingBytesMax: 1024 * 1024 * 1024,
  /** And at least so many, however small they are. */
  waitingBytesMin: 96 * 1024 * 1024,
  /** Bytes that may wait for one client connection, in both directions; its identity may hold a quarter of the process, its address a half. */
  connectionWaitingBytesMax: 128 * 1024 * 1024,
  /** An identity that holds no more is not told that others of its address hold much. */
  addressShareBytes: 1024 * 1024,
  /** Bytes that wait for the node on one connection before each identity is held to its share of it. */
  upstreamHighWaterBytes: 256 * 1024,
  /** What one identity may add then, or one request where that is more; what follows waits in its session until the node has taken all. */
  upstreamShareBytes: 1024 * 1024,
  /** A request that there is no room for is not read for so long, then refused. */
  roomTimeoutMs: 10_000,
  /** Long statements of one identity that wait to be read on the sidecar's second thread; more are shed. It reads for one identity after the other. */
  longStatementsWaitingMax: 64,
  /** Handshakes a second from one address at the control plane, where a proxy has called from there; elsewhere a tenth. Twice as many at once. */
  controlHandshakesPerSecondMax: 1_000,
  /** Connections to the control plane that have shown no certificate of the mesh; an eighth from one address. Then the oldest is closed of the address that has most. */
  controlUnprovenMax: 1_024,
  /** Requests a second without a certificate from one address at the control plane; twice as many at once. More are answered 429, unread. */
  controlRequestsPerSecondMax: 100,
  /** The signed passport of a mesh session: room for evidence of authMessageBytesMax, in base64. */
  passportBytesMax: 96 * 1024,
  /** A policy document as a person hands it in. */
  policyBytesMax: 1024 * 1024,
  /** Rows of the node's tables about the schema that a sidecar keeps, in bytes, and of one table that it reads for a question. */
  schemaRowsBytesMax: 64 * 1024 * 1024,
  /** One page of an answer about the schema. */
  schemaAnswerBytesMax: 16 * 1024 * 1024,
  /** And one about the topology, which a gateway makes. */
  topologyAnswerBytesMax: 1024 * 1024,
  /** Events, of the node or about gateways, that wait until all sessions have heard of those before; of more the oldest is told to all at once. */
  tellingsWaitingMax: 1_024,
  /** Questions about the schema that wait at one sidecar; more are shed. Of one identity no more wait than there is room left for others. */
  schemaQuestionsMax: 4_096,
  /** And of one session: drivers ask about a dozen at once. */
  schemaQuestionsPerSessionMax: 256,
  /** Texts of questions about the schema whose columns a sidecar remembers. */
  schemaTextsMax: 1_024,
  /** Connections of tools that one `ringfence connect` has at one time; a further one is closed. */
  connectToolsMax: 256,
  /** Connections to the Workload API of one agent; a further one is closed. */
  workloadApiConnectionsMax: 256,
  /** Streams of one of them at one time, by HTTP/2's own setting. */
  workloadApiStreamsPerConnectionMax: 100,
  /** And of all; a further one is refused. */
  workloadApiStreamsMax: 1_024,
  /** What a call says; the calls that are answered say nothing. */
  workloadApiRequestBytesMax: 4_096,
  /** What a Workload API of others may say at once: SVIDs with their keys, and roots of many trust domains. */
  workloadApiAnswerBytesMax: 4 * 1024 * 1024,
} as const
