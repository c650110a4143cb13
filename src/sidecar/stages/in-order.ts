/**
 * Lists of stages as functions. The step of one is that of its first stage that does not say `NEXT`.
 *
 * Each stage has a call of its own here. In a loop all of them would share one call, which V8 can neither inline nor predict.
 */
import { assert } from '../../base/errors.ts'
import type { Request } from '../request.ts'
import { type AnswerStage, type RequestStage, Step } from './stage.ts'

const requestStagesMax = 24
const answerStagesMax = 16

const pass = (): Step => Step.NEXT

function filled(stages: readonly RequestStage[], count: number): readonly RequestStage[] {
  assert(stages.length <= count, 'there is a call for each stage')
  return Array.from({ length: count }, (_, index) => stages[index] ?? pass)
}

/** What happens to requests and answers, in order. */
export interface Stages {
  readonly request: readonly RequestStage[]
  readonly answer: readonly AnswerStage[]
}

export interface Ways {
  readonly request: RequestStage
  readonly answer: AnswerStage
  readonly answerStages: readonly AnswerStage[]
}

/** Once for a process: one of its two functions for all sessions. */
export function waysOf({ request, answer }: Stages): Ways {
  return { request: requestWay(request), answer: answerWay(answer), answerStages: answer }
}

function requestWay(stages: readonly RequestStage[]): RequestStage {
  const s = filled(stages, requestStagesMax)
  // `NEXT` is 0, so `||` goes on.
  return (r, q) =>
    s[0]!(r, q) ||
    s[1]!(r, q) ||
    s[2]!(r, q) ||
    s[3]!(r, q) ||
    s[4]!(r, q) ||
    s[5]!(r, q) ||
    s[6]!(r, q) ||
    s[7]!(r, q) ||
    s[8]!(r, q) ||
    s[9]!(r, q) ||
    s[10]!(r, q) ||
    s[11]!(r, q) ||
    s[12]!(r, q) ||
    s[13]!(r, q) ||
    s[14]!(r, q) ||
    s[15]!(r, q) ||
    s[16]!(r, q) ||
    s[17]!(r, q) ||
    s[18]!(r, q) ||
    s[19]!(r, q) ||
    s[20]!(r, q) ||
    s[21]!(r, q) ||
    s[22]!(r, q) ||
    s[23]!(r, q)
}

/** Where a stage says `WAIT`, `request.answerStage` is its index. */
function answerWay(stages: readonly AnswerStage[]): AnswerStage {
  const s = filled(stages, answerStagesMax)
  return (r, q) =>
    to(r, 0) ||
    s[0]!(r, q) ||
    to(r, 1) ||
    s[1]!(r, q) ||
    to(r, 2) ||
    s[2]!(r, q) ||
    to(r, 3) ||
    s[3]!(r, q) ||
    to(r, 4) ||
    s[4]!(r, q) ||
    to(r, 5) ||
    s[5]!(r, q) ||
    to(r, 6) ||
    s[6]!(r, q) ||
    to(r, 7) ||
    s[7]!(r, q) ||
    to(r, 8) ||
    s[8]!(r, q) ||
    to(r, 9) ||
    s[9]!(r, q) ||
    to(r, 10) ||
    s[10]!(r, q) ||
    to(r, 11) ||
    s[11]!(r, q) ||
    to(r, 12) ||
    s[12]!(r, q) ||
    to(r, 13) ||
    s[13]!(r, q) ||
    to(r, 14) ||
    s[14]!(r, q) ||
    to(r, 15) ||
    s[15]!(r, q)
}

function to(request: Request, index: number): Step {
  request.answerStage = index
  return Step.NEXT
}
