/**
 * Answers to single questions, by Cedar, remembered.
 *
 *   question ─▶ Cedar on the rules in YAML that could speak of it, and on the policies in Cedar ─▶ remembered answer
 *
 * Rule: what is remembered is filed under all that its answer can depend on. Rules in YAML test names only against the names and
 * beginnings that are written in them, so names that no rule distinguishes share an answer, for all principals that the same rules concern.
 * Policies in Cedar may test anything, so their answers are filed under principal and full names.
 */
import { type Cache, createCache } from '../base/cache.ts'
import type { Permission } from '../cql/statement/facts.ts'
import { type Answer, broken, ofBoth, ofPair, ofParts, union } from './answer.ts'
import type { PartyAsking } from './asking.ts'
import type { Target } from './cedar/entities.ts'
import { CedarAnswers } from './cedar-answers.ts'
import { type AskedRule, divide } from './divided.ts'
import { mustWait } from './pace.ts'
import type { CompiledPolicy } from './policy.ts'
import { askRules } from './rule-answers.ts'
import type { CedarPrincipal } from './slices.ts'

type Divided = readonly (readonly AskedRule[])[]
const dividedMax = 1_000

export class Answers {
  readonly #policy: CompiledPolicy
  readonly #answers: Cache<Answer>
  /** Of questions that are being asked in parts. */
  readonly #dividing = createCache<Divided>(dividedMax)
  readonly #cedar: CedarAnswers

  constructor(policy: CompiledPolicy, answersMax: number) {
    this.#policy = policy
    this.#answers = createCache(answersMax)
    this.#cedar = new CedarAnswers(policy.cedar)
  }

  /** @throws `mustWait` where a question has to wait */
  ask(asking: PartyAsking, permission: Permission, target: Target): Answer {
    const { view, request, conditional, questions } = asking
    if (questions.exceeded) return broken
    const { slice, party } = view
    const classKey = JSON.stringify([
      slice.id,
      permission,
      conditional && slice.rules.length > 0,
      slice.contextUse.key(request, party.side),
      ...slice.classOf(target),
    ])
    const askYaml = (): Answer => this.#askYaml(asking, classKey, permission, target)
    if (this.#policy.cedar.length === 0) return questions.admits(classKey) ? askYaml() : broken
    const circumstances = JSON.stringify([permission, conditional, this.#cedar.contextKey(request), target])
    if (!questions.admits(circumstances)) return broken
    const askCedar = (whom: CedarPrincipal): Answer =>
      this.#remembered(asking, `${whom.key} ${circumstances}`, () => this.#cedar.ask(asking, whom, permission, target))
    const alone = askCedar(view.alone)
    if (view.pair === undefined) return union(askYaml(), alone)
    const { other, together, each, own } = view.pair
    const asPair = ofBoth(askCedar(together), each.map(askCedar))
    return union(askYaml(), ofPair(alone, askCedar(other), asPair, askCedar(own)))
  }

  /** @throws `mustWait` where a question has to wait */
  #remembered({ pace, questions }: PartyAsking, key: string, ask: () => Answer): Answer {
    let answer = this.#answers.get(key)
    if (answer === undefined) {
      if (questions.failed) return broken
      if (!pace.begin()) throw mustWait
      answer = ask()
      pace.end()
      if (answer.failed) {
        // A failure is not remembered, so the next statement asks again. This one is refused, so nothing more is asked for it.
        questions.failed = true
        return answer
      }
      this.#answers.set(key, answer)
    }
    return answer
  }

  /** Rules that are many are asked in parts, each of which may wait and is remembered. */
  #askYaml(asking: PartyAsking, key: string, permission: Permission, target: Target): Answer {
    const whole = this.#answers.get(key)
    if (whole !== undefined) return whole
    const parts = this.#divided(asking, key, permission, target)
    const answers: Answer[] = []
    for (let at = 0; at < parts.length; at++) {
      const ask = (): Answer => askRules(asking, permission, target, parts[at]!, at === 0)
      const answer = this.#remembered(asking, parts.length === 1 ? key : `${key}/${at}`, ask)
      if (answer.failed) return answer
      answers.push(answer)
    }
    this.#dividing.delete(key)
    if (answers.length === 1) return answers[0]!
    const joined = ofParts(answers)
    this.#answers.set(key, joined)
    return joined
  }

  /** @throws `mustWait` where it has to wait */
  #divided({ view, pace }: PartyAsking, key: string, permission: Permission, target: Target): Divided {
    let parts = this.#dividing.get(key)
    if (parts === undefined) {
      if (!pace.begin()) throw mustWait
      parts = divide(view.slice.speakingOf(permission, target), target)
      pace.end()
      this.#dividing.set(key, parts)
    }
    return parts
  }
}
