/**
 * One statement's judgement: who asks, of what, and how many different questions it came to.
 *
 * Rule: no statement comes to more questions than it may, whatever names stand in it.
 */
import type { Pace } from './pace.ts'
import type { RequestContext, SchemaView } from './request.ts'
import type { PartyPolicy, PrincipalPolicy } from './slices.ts'

/** One statement's judgement: what it is judged with, and the different questions that it came to. */
export interface Asking extends Circumstances {
  readonly view: PrincipalPolicy
}

/** The same of one party. */
export interface PartyAsking extends Circumstances {
  readonly view: PartyPolicy
}

interface Circumstances {
  readonly request: RequestContext
  readonly schema: SchemaView | undefined
  /** The statement has an IF. */
  readonly conditional: boolean
  readonly questions: Questions
  readonly pace: Pace
}

/** The different questions that one statement came to; of a pair, those of each party by themselves. */
export class Questions {
  readonly #keys = new Set<string>()
  readonly #max: number
  #exceeded = false
  /** One could not be answered. */
  failed = false
  #second: Questions | undefined

  constructor(max: number) {
    this.#max = max
  }

  /** Those of a party, by its place. */
  of(party: number): Questions {
    if (party === 0) return this
    this.#second ??= new Questions(this.#max)
    return this.#second
  }

  /** More were asked than are answered, so the verdict cannot be used. */
  get exceeded(): boolean {
    return this.#exceeded || this.#second?.exceeded === true
  }

  admits(key: string): boolean {
    if (this.#keys.has(key)) return true
    if (this.#keys.size >= this.#max) this.#exceeded = true
    else this.#keys.add(key)
    return !this.#exceeded
  }

  /** So many different ones will be asked. Where that is more than may be, none is asked. */
  admitsMany(count: number): boolean {
    if (count > this.#max) this.#exceeded = true
    return !this.#exceeded
  }
}

/** Of one party, by its place. */
export function ofParty({ view, questions, ...circumstances }: Asking, at: number): PartyAsking {
  return { ...circumstances, view: view.parties[at]!, questions: questions.of(at) }
}
