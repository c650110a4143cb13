/**
 * TokenReview (KEP-1205): the API server says whether a token is good *now*, so that the token of a Pod that was deleted is not. What it says
 * is remembered for a few seconds, for a pool of connections opens at once.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { limits } from '../../base/limits.ts'
import { jsonOf, type OutsideAnswer } from '../outside/answer.ts'
import { Asking } from '../outside/asking.ts'
import { LogInRefused } from '../refusal.ts'

const reviewSchema = z.object({
  apiVersion: z.literal('authentication.k8s.io/v1'),
  kind: z.literal('TokenReview'),
  status: z.object({
    authenticated: z.boolean().optional(),
    user: z.object({ username: z.string().max(512).optional() }).optional(),
    audiences: z.array(z.string().max(1024)).max(64).optional(),
  }),
})

/** A token whose Pod is deleted logs nobody in after this. */
const rememberedMs = 10_000

export class TokenReviews {
  readonly #send: (body: string) => Promise<OutsideAnswer>
  readonly #asking = new Asking<{ readonly username: string }>(
    'the Kubernetes API server',
    limits.tokenReviewsRememberedMax,
  )

  /** @param send a POST of JSON to `/apis/authentication.k8s.io/v1/tokenreviews`, by the process's own token, bounded in time */
  constructor(send: (body: string) => Promise<OutsideAnswer>) {
    this.#send = send
  }

  /**
   * The name of the user whose token it is.
   * @param audiences one of them must be the token's
   * @param from address of whoever shows it
   * @throws LogInRefused
   */
  async usernameOf(token: string, audiences: readonly string[], nowMs: number, from: string): Promise<string> {
    const key = createHash('sha256')
      .update(JSON.stringify([token, audiences]))
      .digest('base64url')
    const { username } = await this.#asking.of(
      key,
      from,
      nowMs,
      async () => ({ username: usernameIn(await this.#send(reviewOf(token, audiences)), audiences) }),
      () => nowMs + rememberedMs,
    )
    return username
  }
}

function reviewOf(token: string, audiences: readonly string[]): string {
  return JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences } })
}

function usernameIn(answer: OutsideAnswer, audiences: readonly string[]): string {
  const { status } = answer
  if (status === 401 || status === 403) {
    throw new LogInRefused(
      'verifier-away',
      `the Kubernetes API server does not let this process review tokens (${status})`,
    )
  }
  if (status !== 200 && status !== 201)
    throw new LogInRefused('verifier-away', `the Kubernetes API server does not review tokens now (${status})`)
  const read = reviewSchema.safeParse(jsonOf(answer))
  if (!read.success)
    throw new LogInRefused('verifier-away', 'the answer of the Kubernetes API server is not understood')
  const { authenticated, user, audiences: meant = [] } = read.data.status
  if (authenticated !== true) throw new LogInRefused('signature', 'the Kubernetes API server does not accept the token')
  // A server that knows no audiences says none: then the token may be for anybody.
  if (!meant.some((audience) => audiences.includes(audience))) {
    throw new LogInRefused('audience', 'the Kubernetes API server says that the token is for another audience')
  }
  if (user?.username === undefined) throw new LogInRefused('verifier-away', 'the Kubernetes API server names no user')
  return user.username
}
