/**
 * How fast a decision may be taken. Questions to Cedar cost a tenth of a millisecond and more each, and a statement may need hundreds, or have
 * thousands of parts. So a caller with other work may pause the decision. Answers are remembered, and a decision goes on later, or is taken
 * again from the beginning.
 */
export interface Pace {
  /** Called before each question that is not remembered. False where it has to wait. */
  begin(): boolean
  /** Called after each. */
  end(): void
}

export const unpaced: Pace = { begin: () => true, end: () => {} }

/** Thrown where a question has to wait; caught by `whenAnswered`, and in `PolicyEngine`. */
export const mustWait: unique symbol = Symbol('must wait')

/** Work in short steps. What is yielded between two of them says whether a question has to wait: then nothing was done since the step before. */
export type Steps<T> = Generator<boolean, T, undefined>

/** Asks until nothing has to wait. What `ask` does before may be done several times. */
export function* whenAnswered<T>(ask: () => T): Steps<T> {
  for (;;) {
    try {
      return ask()
    } catch (reason) {
      if (reason !== mustWait) throw reason
    }
    yield true
  }
}

/** All of it in one go, where nothing has to wait. */
export function inOneGo<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (step.value) throw mustWait
  }
}
