/**
 * What happens to a request from its arrival to the node, in this order. Each stage is a small function; most of them look at a request and
 * pass it on. A stage that answers or keeps it ends the way here.
 *
 * Rule: whatever limits, meters or refuses stands in `everyRequest`, which no permitted request passes by. `answered` are the ways to an
 * answer, of which each request goes one: what is behind them sees some requests only.
 */
import { admit } from './stages/admit.ts'
import { answerSchemaQuestion, describe } from './stages/answer-here.ts'
import { authorise, check } from './stages/authorise.ts'
import { judgeBatch } from './stages/batch.ts'
import { limit } from './stages/limit.ts'
import { read } from './stages/read.ts'
import { recall, resolveLate } from './stages/recall.ts'
import { recorded } from './stages/recorded.ts'
import { lookUp, refuse, settleSchema } from './stages/refuse.ts'
import { register } from './stages/register.ts'
import { rewrite } from './stages/rewrite.ts'
import { send } from './stages/send.ts'
import type { RequestStage } from './stages/stage.ts'
import { answerGiven, hideTopology } from './stages/topology.ts'
import { trace } from './stages/trace.ts'
import { use } from './stages/use.ts'

const everyRequest: readonly RequestStage[] = [
  /** Nothing goes on while nothing can be recorded. */
  recorded,
  /** REGISTER is answered here. */
  register,
  /** The envelope, to its last byte. */
  read,
  /** A BATCH: its statements, and the decision on each. */
  judgeBatch,
  /** The statement, by its prepared id or its text. */
  recall,
  /** What its names mean where the node runs it. */
  resolveLate,
  /** Nothing is judged by a schema that is known to be older than a change. */
  settleSchema,
  /** What policy says: a permit or a denial. */
  authorise,
  /** A client of a gateway is shown no node. */
  hideTopology,
  /** A table that is not known may be new. */
  lookUp,
  /** The bound values. */
  check,
  /** A denial is answered here. */
  refuse,
  /** Who is over a limit waits, or is refused here. */
  limit,
  /** Of what no node answers there is a trace at the node all the same. */
  trace,
]

const answered: readonly RequestStage[] = [
  /** The gateway gave the answer along with the question. */
  answerGiven,
  /** New statements for the node's cache, as many as one identity may add. */
  admit,
  /** USE, by a connection of that keyspace. */
  use,
  /** Questions about a schema of which not all may be seen. */
  answerSchemaQuestion,
  describe,
  /** What the node must not see as it came. */
  rewrite,
  send,
]

export const requestStages: readonly RequestStage[] = [...everyRequest, ...answered]
