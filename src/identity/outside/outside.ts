/**
 * The servers outside that some log-ins are decided by: AWS STS, and a Kubernetes API server. One for each process that verifies.
 *
 * Rule: this layer opens no socket. Whoever makes one hands in how each is called, within a bound of time and bytes and with no redirect
 * followed. What asks is loaded with the first provider that is decided so.
 */
import { createRequire } from 'node:module'
import type { StsRequest } from '../aws/presigned.ts'
import type { AskFirstUse, StsLogIns } from '../aws/sts.ts'
import type { TokenReviews } from '../kubernetes/token-review.ts'
import { LogInRefused } from '../refusal.ts'
import type { OutsideAnswer } from './answer.ts'

export interface OutsideCalls {
  /** @param allowPrivate its addresses may be those of a private network, such as an endpoint of one's own VPC */
  readonly sts: (request: StsRequest, allowPrivate: boolean) => Promise<OutsideAnswer>
  /** A POST to `/apis/authentication.k8s.io/v1/tokenreviews`; undefined where the process knows no API server. */
  readonly tokenReview: ((body: string) => Promise<OutsideAnswer>) | undefined
  /** How the mesh is asked, by those who let clients to a node. */
  readonly firstUse?: AskFirstUse | undefined
}

const load = createRequire(import.meta.url)

export class Outside {
  /** Of a process that asks nobody. */
  static readonly none = new Outside({
    sts: () => Promise.reject(new LogInRefused('verifier-away', 'AWS STS is not asked by this process')),
    tokenReview: undefined,
  })
  readonly #calls: OutsideCalls
  #sts: StsLogIns | undefined
  #tokenReviews: TokenReviews | undefined

  constructor(calls: OutsideCalls) {
    this.#calls = calls
  }

  get sts(): StsLogIns {
    return this.#sts ?? this.#loadSts()
  }

  get tokenReviews(): TokenReviews | undefined {
    return this.#tokenReviews ?? this.#loadTokenReviews()
  }

  /** Providers whose log-ins are decided so are in force: what asks is loaded now, and not in the midst of a log-in. */
  prepare({ sts, tokenReviews }: { readonly sts: boolean; readonly tokenReviews: boolean }): void {
    if (this === Outside.none) return
    if (sts && this.#sts === undefined) this.#loadSts()
    if (tokenReviews && this.#tokenReviews === undefined) this.#loadTokenReviews()
  }

  #loadSts(): StsLogIns {
    const { StsLogIns: LogIns } = load('../aws/sts.ts') as typeof import('../aws/sts.ts')
    this.#sts = new LogIns(this.#calls.sts, this.#calls.firstUse)
    return this.#sts
  }

  #loadTokenReviews(): TokenReviews | undefined {
    const { tokenReview } = this.#calls
    if (tokenReview === undefined) return undefined
    const file = '../kubernetes/token-review.ts'
    const { TokenReviews: Reviews } = load(file) as typeof import('../kubernetes/token-review.ts')
    this.#tokenReviews = new Reviews(tokenReview)
    return this.#tokenReviews
  }
}
