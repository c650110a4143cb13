/** What happens to an answer of the node on its way to the client, in this order. What the node answered is found by its stream id before. */
import { changeRows } from './stages/change-rows.ts'
import { give, record } from './stages/give.ts'
import { hideAddresses, tellObserved } from './stages/hide.ts'
import { learn } from './stages/learn.ts'
import { chargeAnswer, tellLimit } from './stages/limit.ts'
import { prepareAgain } from './stages/prepare-again.ts'
import { readAnswer } from './stages/read-answer.ts'
import type { AnswerStage } from './stages/stage.ts'

export const answerStages: readonly AnswerStage[] = [
  /** Its kind, or its error. */
  readAnswer,
  /** The node forgot the statement: it is prepared there again, and the request served again. */
  prepareAgain,
  /** What changes the session and what the sidecar knows: prepared ids, the keyspace in force, the schema. */
  learn,
  /** Columns are masked, a paging state is sealed; a large answer in slices. */
  changeRows,
  /** What it has is charged to the limits of who asked. */
  chargeAnswer,
  /** A client of a gateway is shown no address of a node. */
  hideAddresses,
  /** Rules in observe mode. */
  tellObserved,
  /** A limit that is near, or was waited for. */
  tellLimit,
  /** Recorded and counted, before it is given. */
  record,
  give,
]
