/**
 * How fast a decision may be taken. Questions to Cedar cost a tenth of a millisecond and more each, and a statement may need hundreds, so a
 * caller with other work may pause the decision. Answers are remembered, and the decision is taken again later from the beginning.
 */
export interface Pace {
  /** Called before each question that is not remembered. False where it has to wait. */
  begin(): boolean
  /** Called after each. */
  end(): void
}

export const unpaced: Pace = { begin: () => true, end: () => {} }

/** Thrown where a question has to wait; caught in `PolicyEngine.decideWithin`. */
export const mustWait: unique symbol = Symbol('must wait')
