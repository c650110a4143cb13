/** Roles, users, identities and permissions: the rules of `Parser.g` from `grantPermissionsStatement` to `roleOption`. */
import type { Administration, Grantable, SchemaAction } from './ast.ts'
import {
  acceptIfExists,
  acceptIfNotExists,
  type Cursor,
  functionName,
  name,
  nameOf,
  qualifiedName,
  stringOf,
} from './cursor.ts'
import { names, unreserved } from './keywords.ts'
import { isObjectName } from './object-name.ts'
import { literalText } from './properties.ts'
import { ifClause } from './schema.ts'
import { propertyMap } from './terms.ts'
import { K, T } from './tokens.ts'
import { argumentTypes } from './types.ts'

/** GRANT and REVOKE, of permissions or of a role, after the first word. */
export function grantStatement(cursor: Cursor, action: 'GRANT' | 'REVOKE'): Administration {
  const preposition = action === 'GRANT' ? K.TO : K.FROM
  if (cursor.peek(1) === preposition) {
    const role = roleName(cursor)
    cursor.advance()
    return { kind: 'grantRole', action, role, grantee: roleName(cursor) }
  }
  const permissions = permissionOrAll(cursor)
  cursor.expect(K.ON)
  const { resource, applicable } = grantable(cursor)
  if (permissions !== 'ALL' && !permissions.some((permission) => applicable.includes(permission))) {
    throw cursor.failure('resource does not support any of the requested permissions')
  }
  cursor.expect(preposition)
  return { kind: 'grant', action, resource, role: roleName(cursor) }
}

/** LIST, after the first word. */
export function listStatement(cursor: Cursor): Administration {
  let what: 'ROLES' | 'USERS' | 'PERMISSIONS' = 'PERMISSIONS'
  let resource: Grantable | undefined
  if (cursor.accept(K.USERS)) return { kind: 'list', what: 'USERS', resource, role: undefined }
  if (cursor.accept(K.ROLES)) what = 'ROLES'
  else {
    permissionOrAll(cursor)
    if (cursor.accept(K.ON)) resource = grantable(cursor).resource
  }
  const role = cursor.accept(K.OF) ? roleName(cursor) : undefined
  cursor.accept(K.NORECURSIVE)
  return { kind: 'list', what, resource, role }
}

/** CREATE, ALTER and DROP ROLE, after the word ROLE. */
export function roleStatement(cursor: Cursor, action: SchemaAction): Administration {
  ifClause(cursor, action)
  const role = roleName(cursor)
  let superuser = false
  if (action !== 'DROP' && cursor.accept(K.WITH)) {
    const seen = new Set<string>()
    do superuser = roleOption(cursor, seen, action) || superuser
    while (cursor.accept(K.AND))
    if (seen.has('password') && seen.has('hashed password')) throw exclusive(cursor)
  }
  return { kind: 'role', action, noun: 'ROLE', role, superuser }
}

/** CREATE, ALTER and DROP USER, after the word USER. */
export function userStatement(cursor: Cursor, action: SchemaAction): Administration {
  ifClause(cursor, action)
  const role = plainOrString(cursor)
  let superuser = false
  if (action !== 'DROP') {
    if (cursor.accept(K.WITH)) {
      cursor.accept(K.HASHED)
      cursor.expect(K.PASSWORD)
      cursor.expect(T.STRING)
    }
    superuser = cursor.accept(K.SUPERUSER)
    if (!superuser && cursor.accept(K.NOSUPERUSER)) superuser = action === 'ALTER'
  }
  return { kind: 'role', action, noun: 'USER', role, superuser }
}

/** ADD IDENTITY, after the word ADD. */
export function addIdentity(cursor: Cursor): Administration {
  cursor.expect(K.IDENTITY)
  acceptIfNotExists(cursor)
  plainOrString(cursor)
  cursor.expect(K.TO)
  cursor.expect(K.ROLE)
  plainOrString(cursor)
  return { kind: 'identity', action: 'ADD' }
}

/** DROP IDENTITY, after the word IDENTITY. */
export function dropIdentity(cursor: Cursor): Administration {
  acceptIfExists(cursor)
  plainOrString(cursor)
  return { kind: 'identity', action: 'DROP' }
}

/** `roleName` */
function roleName(cursor: Cursor): string {
  if (cursor.kind !== T.STRING) return name(cursor)
  const role = stringOf(cursor)
  cursor.advance()
  return role
}

/** `username` and `identity`: no keyword, no quoted name; the case stays. */
function plainOrString(cursor: Cursor): string {
  if (cursor.kind !== T.IDENT && cursor.kind !== T.STRING) throw cursor.unexpected()
  const text = cursor.kind === T.STRING ? stringOf(cursor) : cursor.text()
  cursor.advance()
  return text
}

// --- options -------------------------------------------------------------------------------------------------------------

/** `roleOption`: true where only a superuser may set it. */
function roleOption(cursor: Cursor, seen: Set<string>, action: SchemaAction): boolean {
  const once = (option: string): void => {
    if (seen.has(option)) throw cursor.failure('multiple definition for a role option')
    seen.add(option)
  }
  if (cursor.accept(K.ACCESS)) {
    accessOption(cursor, seen)
    return false
  }
  const option = nameOf(cursor)
  switch (cursor.kind) {
    case K.HASHED:
      cursor.advance()
      cursor.expect(K.PASSWORD)
      cursor.expect(T.EQUALS)
      cursor.expect(T.STRING)
      once('hashed password')
      return false
    case K.PASSWORD:
      cursor.advance()
      cursor.expect(T.EQUALS)
      cursor.expect(T.STRING)
      once(option)
      return false
    case K.OPTIONS:
      cursor.advance()
      cursor.expect(T.EQUALS)
      propertyMap(cursor, literalText)
      once(option)
      return false
    case K.SUPERUSER:
    case K.LOGIN: {
      cursor.advance()
      cursor.expect(T.EQUALS)
      const value = cursor.text().toLowerCase()
      cursor.expect(T.BOOLEAN)
      once(option)
      return option === 'superuser' && (value === 'true' || action === 'ALTER')
    }
    default:
      throw cursor.unexpected()
  }
}

/** What follows ACCESS. For each of the two, either ALL or names may be given, but not both. */
function accessOption(cursor: Cursor, seen: Set<string>): void {
  const places = cursor.accept(K.TO) ? K.DATACENTERS : K.CIDRS
  if (places === K.CIDRS) cursor.expect(K.FROM)
  const all = cursor.accept(K.ALL)
  cursor.expect(places)
  if (!all) {
    cursor.expect(T.BRACE_OPEN)
    do cursor.expect(T.STRING)
    while (cursor.accept(T.COMMA))
    cursor.expect(T.BRACE_CLOSE)
  }
  if (seen.has(`${places} ${!all}`)) throw cursor.failure('all and single places are mutually exclusive')
  seen.add(`${places} ${all}`)
}

function exclusive(cursor: Cursor): Error {
  return cursor.failure("options 'password' and 'hashed password' are mutually exclusive")
}

// --- permissions and resources -------------------------------------------------------------------------------------------

const permissionKinds = new Set<number>([
  K.CREATE,
  K.ALTER,
  K.DROP,
  K.SELECT,
  K.MODIFY,
  K.AUTHORIZE,
  K.DESCRIBE,
  K.EXECUTE,
  K.UNMASK,
  K.SELECT_MASKED,
])

/** `permissionOrAll`: names in upper case. */
function permissionOrAll(cursor: Cursor): 'ALL' | string[] {
  if (cursor.accept(K.ALL)) {
    cursor.accept(K.PERMISSIONS)
    return 'ALL'
  }
  const permissions: string[] = []
  do {
    if (!permissionKinds.has(cursor.kind)) throw cursor.unexpected()
    permissions.push(cursor.text().toUpperCase())
    cursor.advance()
    cursor.accept(K.PERMISSION)
  } while (cursor.accept(T.COMMA))
  return permissions
}

/** `IResource.applicablePermissions` of Cassandra 5.0. */
const applicable = {
  keyspace: ['CREATE', 'ALTER', 'DROP', 'SELECT', 'MODIFY', 'AUTHORIZE', 'UNMASK', 'SELECT_MASKED'],
  allTables: ['CREATE', 'ALTER', 'DROP', 'SELECT', 'MODIFY', 'AUTHORIZE', 'UNMASK', 'SELECT_MASKED'],
  table: ['ALTER', 'DROP', 'SELECT', 'MODIFY', 'AUTHORIZE', 'UNMASK', 'SELECT_MASKED'],
  roles: ['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE'],
  role: ['ALTER', 'DROP', 'AUTHORIZE', 'DESCRIBE'],
  functions: ['CREATE', 'ALTER', 'DROP', 'AUTHORIZE', 'EXECUTE'],
  function: ['ALTER', 'DROP', 'AUTHORIZE', 'EXECUTE'],
  mbeans: ['AUTHORIZE', 'DESCRIBE', 'EXECUTE', 'MODIFY', 'SELECT'],
} as const

interface Found {
  readonly resource: Grantable
  readonly applicable: readonly string[]
}

/** `resource` */
function grantable(cursor: Cursor): Found {
  const next = cursor.peek(1)
  switch (cursor.kind) {
    case K.ALL:
      if (allOf.has(next)) return everything(cursor)
      break
    case K.KEYSPACE:
      cursor.advance()
      return keyspaceFound(cursor, applicable.keyspace)
    case K.COLUMNFAMILY:
      cursor.advance()
      break
    case K.ROLE:
      if (names[next] === 1 || next === T.STRING) {
        cursor.advance()
        return { resource: { kind: 'role', role: roleName(cursor) }, applicable: applicable.role }
      }
      break
    case K.FUNCTION:
      if (unreserved[next] === 1 || names[next] === 1 || next === K.TOKEN) {
        cursor.advance()
        const called = functionName(cursor)
        argumentTypes(cursor)
        if (called.keyspace === undefined) throw cursor.failure('function name must be qualified by a keyspace')
        return { resource: { kind: 'function', name: called }, applicable: applicable.function }
      }
      break
    case K.MBEAN:
    case K.MBEANS:
      if (next === T.STRING) {
        const plural = cursor.kind === K.MBEANS
        cursor.advance()
        if (!isObjectName(stringOf(cursor), plural)) throw cursor.failure('not a valid JMX object name')
        cursor.advance()
        return { resource: { kind: 'cluster' }, applicable: applicable.mbeans }
      }
      break
  }
  return { resource: { kind: 'table', table: qualifiedName(cursor) }, applicable: applicable.table }
}

const allOf = new Set<number>([K.KEYSPACES, K.TABLES, K.ROLES, K.FUNCTIONS, K.MBEANS])

/** `ALL …` */
function everything(cursor: Cursor): Found {
  cursor.advance()
  const what = cursor.kind
  cursor.advance()
  if (what === K.TABLES || (what === K.FUNCTIONS && cursor.kind === K.IN)) {
    cursor.expect(K.IN)
    cursor.expect(K.KEYSPACE)
    return keyspaceFound(cursor, what === K.TABLES ? applicable.allTables : applicable.functions)
  }
  const permissions =
    what === K.KEYSPACES
      ? applicable.keyspace
      : what === K.ROLES
        ? applicable.roles
        : what === K.FUNCTIONS
          ? applicable.functions
          : applicable.mbeans
  return { resource: { kind: 'cluster' }, applicable: permissions }
}

function keyspaceFound(cursor: Cursor, permissions: readonly string[]): Found {
  return { resource: { kind: 'keyspace', keyspace: name(cursor) }, applicable: permissions }
}
