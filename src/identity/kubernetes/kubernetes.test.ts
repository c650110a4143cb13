import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { answerOf } from '../aws/sts.fixture.ts'
import type { OutsideAnswer } from '../outside/answer.ts'
import { whyLater as why } from '../refusal.fixture.ts'
import { serviceAccountOf, serviceAccountSubject } from './service-account.ts'
import { TokenReviews } from './token-review.ts'

/** As a projected token has it (Kubernetes 1.30 and later). */
const about = {
  namespace: 'shop',
  node: { name: 'worker-1', uid: '2d5b8a5e-8f8f-4f57-9d2b-3d1c6c1b8f11' },
  pod: { name: 'orders-7d9c', uid: '6f1f6a52-4f8f-4a4e-8d51-0a52a5a9a3f0' },
  serviceaccount: { name: 'orders', uid: '0f0a2d3e-5b1c-4a39-9a3e-7a6b8c9d0e1f' },
}
const payload = { sub: 'system:serviceaccount:shop:orders', 'kubernetes.io': about }

describe('a token of a service account', () => {
  it('names it, and what the cluster says of it', () => {
    const account = serviceAccountOf(payload)
    assert.equal(serviceAccountSubject(account, 'demo.local'), 'spiffe://demo.local/ns/shop/sa/orders')
    assert.deepEqual(account.claims, about)
    const dotted = {
      sub: 'system:serviceaccount:a:b.c-d',
      'kubernetes.io': { namespace: 'a', serviceaccount: { name: 'b.c-d' } },
    }
    assert.equal(serviceAccountSubject(serviceAccountOf(dotted), 'demo.local'), 'spiffe://demo.local/ns/a/sa/b.c-d')
  })

  it('is of a service account, and names one', async () => {
    const subjects = [
      ...[
        'system:serviceaccount:shop',
        'system:serviceaccount:shop:orders:more',
        'system:serviceaccounts:shop:orders',
        'system:node:worker-1',
      ],
      ...[
        'kubernetes-admin',
        'system:serviceaccount::orders',
        'system:serviceaccount:shop:',
        'system:serviceaccount:Shop:orders',
      ],
      ...[
        'system:serviceaccount:shop:../orders',
        'system:serviceaccount:a.b:orders',
        'system:serviceaccount:shop:..',
        'system:serviceaccount:shop:a..b',
      ],
      ...[
        ' system:serviceaccount:shop:orders',
        'system:serviceaccount:shop:orders\n',
        'system:serviceaccount:shop:a/b',
        'SYSTEM:serviceaccount:shop:orders',
      ],
    ]
    for (const sub of subjects) assert.equal(await why(() => serviceAccountOf({ ...payload, sub })), 'claims', sub)
    const others: readonly unknown[] = [
      { ...payload, 'kubernetes.io': { ...about, namespace: 'other' } },
      { ...payload, 'kubernetes.io': { ...about, serviceaccount: { name: 'other' } } },
      { ...payload, 'kubernetes.io': { ...about, serviceaccount: 'orders' } },
      { ...payload, 'kubernetes.io': undefined },
      // A token of a Secret, as clusters made them before 1.24, has other claims, and no end.
      { sub: payload.sub, iss: 'kubernetes/serviceaccount', 'kubernetes.io/serviceaccount/namespace': 'shop' },
      { 'kubernetes.io': about },
      null,
    ]
    for (const other of others)
      assert.equal(await why(() => serviceAccountOf(other)), 'malformed', JSON.stringify(other))
  })
})

/** As an API server answers. */
function review(status: unknown, code = 201): OutsideAnswer {
  return answerOf(code, {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {},
    spec: { token: 'x' },
    status,
  })
}

const good = {
  authenticated: true,
  user: {
    username: 'system:serviceaccount:shop:orders',
    uid: '0f0a2d3e',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
    extra: { 'authentication.kubernetes.io/pod-name': ['orders-7d9c'] },
  },
  audiences: ['ringfence'],
}

describe('TokenReview', () => {
  const audiences = ['ringfence', 'ringfence-old']

  it('is asked of with the token and our audiences, and names the user', async () => {
    const asked: unknown[] = []
    const reviews = new TokenReviews(async (body) => {
      asked.push(JSON.parse(body))
      return review(good)
    })
    assert.equal(await reviews.usernameOf('header.claims.signature', audiences, 0, '192.0.2.7'), good.user.username)
    assert.deepEqual(asked, [
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token: 'header.claims.signature', audiences },
      },
    ])
  })

  it('is asked again after ten seconds, so that the token of a Pod that is gone dies', async () => {
    let isThere = true
    const reviews = new TokenReviews(async () =>
      review(
        isThere ? good : { user: {}, error: '[invalid bearer token, service account token has been invalidated]' },
      ),
    )
    assert.equal(await why(() => reviews.usernameOf('t', audiences, 0, '192.0.2.7')), 'accepted')
    isThere = false
    assert.equal(await why(() => reviews.usernameOf('t', audiences, 9_999, '192.0.2.7')), 'accepted')
    assert.equal(await why(() => reviews.usernameOf('t', audiences, 10_000, '192.0.2.7')), 'signature')
    assert.equal(await why(() => reviews.usernameOf('another', audiences, 0, '192.0.2.7')), 'signature')
  })

  it('believes an answer that says all, and no other', async () => {
    const causes: readonly (readonly [OutsideAnswer, string])[] = [
      [review(good), 'accepted'],
      [review(good, 200), 'accepted'],
      [review({ ...good, audiences: ['other', 'ringfence-old'] }), 'accepted'],
      [review({ ...good, audiences: ['other'] }), 'audience'],
      [review({ ...good, audiences: [] }), 'audience'],
      // A server that knows no audiences.
      [review({ ...good, audiences: undefined }), 'audience'],
      [review({ ...good, authenticated: false }), 'signature'],
      [review({ ...good, authenticated: undefined }), 'signature'],
      [review({ ...good, authenticated: 'true' }), 'verifier-away'],
      [review({ ...good, user: {} }), 'verifier-away'],
      [review({ ...good, user: undefined }), 'verifier-away'],
      [review(undefined), 'verifier-away'],
      [review(good, 401), 'verifier-away'],
      [review(good, 403), 'verifier-away'],
      [review(good, 429), 'verifier-away'],
      [review(good, 500), 'verifier-away'],
      [review(good, 302), 'verifier-away'],
      [answerOf(201, review(good).body.toString(), 'text/html'), 'verifier-away'],
      [answerOf(201, { kind: 'Status', apiVersion: 'v1', status: good }), 'verifier-away'],
      [answerOf(201, { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v2', status: good }), 'verifier-away'],
      [answerOf(201, '{'), 'verifier-away'],
    ]
    for (const [answer, cause] of causes) {
      const reviews = new TokenReviews(async () => answer)
      assert.equal(await why(() => reviews.usernameOf('t', audiences, 0, '192.0.2.7')), cause, answer.body.toString())
    }
  })
})
