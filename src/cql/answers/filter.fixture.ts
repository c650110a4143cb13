import { filterRowsInSteps } from './filter.ts'

/** All steps at once. */
export function filterRows(...given: Parameters<typeof filterRowsInSteps>): Buffer {
  const steps = filterRowsInSteps(...given)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}
