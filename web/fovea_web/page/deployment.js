/** What the server offers, from /v1/deployment. */

/** Verbs by their own names, with their paths. */
export class Deployment {
  /** record: {verbs: [{name, verb, members}], members: [{name, family, role, …}], search}. */
  constructor(record) {
    this.verbs = record.verbs ?? [];
    this.search = record.search ?? null;
    this.members = new Map((record.members ?? []).map((member) => [member.name, member]));
  }

  /** The verbs of a kind ("detect"), under whatever names. */
  of(kind) {
    return this.verbs.filter((verb) => verb.verb === kind);
  }

  offers(kind) {
    return this.of(kind).length > 0;
  }

  /** The members behind a verb: [{slot, name, family, role, licence, class_names}]. */
  membersOf(verb) {
    return Object.entries(verb.members).map(([slot, name]) => ({ slot, name, ...this.members.get(name) }));
  }

  /** Class names of the verb's detector or classifier; empty if it takes any words. */
  classesOf(verb) {
    return this.membersOf(verb).find((member) => member.class_names?.length)?.class_names ?? [];
  }
}

export const pathOf = (kind) => `v1/${kind.replaceAll("_", "-")}`;

/** The parameter that names a verb, if the deployment gave it another name. */
export const named = (verb) => (verb.name === verb.verb ? {} : { verb: verb.name });
