/**
 * The servers outside that some log-ins are decided by: AWS STS, and a Kubernetes API server. One for each process that verifies.
 *
 * Rule: this layer opens no socket. Whoever makes one hands in how each is called, within a bound of time and bytes and with no redirect
 * followed.
 */
import type { StsRequest } from '../aws/presigned.ts'
import { type AskFirstUse, StsLogIns } from '../aws/sts.ts'
import { TokenReviews } from '../kubernetes/token-review.ts'
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

export class Outside {
  /** Of a process that asks nobody. */
  static readonly none = new Outside({
    sts: () => Promise.reject(new LogInRefused('verifier-away', 'AWS STS is not asked by this process')),
    tokenReview: undefined,
  })
  readonly sts: StsLogIns
  readonly tokenReviews: TokenReviews | undefined

  constructor({ sts, tokenReview, firstUse }: OutsideCalls) {
    this.sts = new StsLogIns(sts, firstUse)
    this.tokenReviews = tokenReview === undefined ? undefined : new TokenReviews(tokenReview)
  }
}
