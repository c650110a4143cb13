/**
 * Decisions on large statements: thousands of columns, or of statements in a BATCH. They are taken in short steps. Between two steps the pace
 * is asked. Where it says no, what was done so far is kept until the same request asks again.
 *
 *   decide ─▶ step ─ pace? ─▶ step ─ … ─▶ decision
 *                     └ no ─▶ kept by request ─ asked again ─▶ step …
 *
 * Rule: what is kept goes on only for the same statement, policy and schema, and while the request says the same to the rules: a session has
 * one context for all its requests, and the clock goes on. Several may be under way in a session, and none ends another. What nobody asks for
 * again goes with the epoch or the session.
 */
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Pace, Steps } from './pace.ts'
import type { RequestContext, SchemaView } from './request.ts'
import type { PrincipalPolicy } from './slices.ts'

/** Of columns, relations and statements in a BATCH, added up. Fewer are decided on in a millisecond. */
const largeMin = 256

/** What a decision is about. `view` is another object under every policy. */
export interface Subject {
  readonly view: PrincipalPolicy
  readonly facts: StatementFacts
  readonly request: RequestContext
  /** What the rules see of the request now: `ContextUse.key`. */
  readonly circumstances: string
  readonly schema: SchemaView | undefined
  readonly epoch: number
}

/** Whether the statement is decided on step by step. */
export function isLarge({
  children,
  restrictions,
  assignments,
  columnsUsed,
  selection,
  accesses,
}: StatementFacts): boolean {
  let parts = children.length + restrictions.length + assignments.length + columnsUsed.length
  if (Array.isArray(selection)) parts += selection.length
  if (accesses.length >= largeMin) return true
  for (const { columns } of accesses) if (columns !== '*') parts += columns.length
  return parts >= largeMin
}

interface UnderWay<T> extends Subject {
  readonly steps: Steps<T>
  readonly pace: StepPace
}

export class Deliberations<T> {
  readonly #underWay = new WeakMap<RequestContext, readonly UnderWay<T>[]>()

  /**
   * The decision, or undefined where it has to wait and be asked for again.
   * @param decide is given the pace of its questions
   */
  goOn(pace: Pace, subject: Subject, decide: (pace: Pace) => Steps<T>): T | undefined {
    const kept = this.#underWay.get(subject.request)?.find((one) => isSame(one, subject))
    let one = kept
    if (one === undefined) {
      const ofStep = new StepPace()
      one = { ...subject, steps: decide(ofStep), pace: ofStep }
    }
    let over = true
    try {
      while (pace.begin()) {
        try {
          const step = one.pace.during(pace, one.steps)
          if (step.done === true) return step.value
        } finally {
          pace.end()
        }
      }
      over = false
      if (kept === undefined) this.#keep(one)
      return undefined
    } finally {
      if (over && kept !== undefined) this.#drop(kept)
    }
  }

  #keep(one: UnderWay<T>): void {
    // Those of another policy or epoch are asked for no more.
    const isGood = ({ view, epoch }: Subject): boolean => view === one.view && epoch === one.epoch
    const others = this.#underWay.get(one.request)?.filter(isGood) ?? []
    this.#underWay.set(one.request, [...others, one])
  }

  #drop(one: UnderWay<T>): void {
    const others = this.#underWay.get(one.request)?.filter((other) => other !== one) ?? []
    if (others.length === 0) this.#underWay.delete(one.request)
    else this.#underWay.set(one.request, others)
  }
}

function isSame(a: Subject, b: Subject): boolean {
  if (a.facts !== b.facts || a.view !== b.view || a.epoch !== b.epoch) return false
  return a.schema === b.schema && a.circumstances === b.circumstances
}

/** The pace of questions within a step: its first may always be asked, so that each turn takes the decision further. */
class StepPace implements Pace {
  #outer: Pace | undefined
  #first = false
  #inFirst = false

  during<T>(outer: Pace, steps: Steps<T>): IteratorResult<boolean, T> {
    this.#outer = outer
    this.#first = true
    return steps.next()
  }

  begin(): boolean {
    if (!this.#first) return this.#outer!.begin()
    this.#first = false
    this.#inFirst = true
    return true
  }

  end(): void {
    if (this.#inFirst) this.#inFirst = false
    else this.#outer!.end()
  }
}
