/** A method that decorators may stand on: it returns a promise. */
export type AsyncMethod = (...args: never[]) => Promise<unknown>;

/** Calls the method that was decorated. */
type Call = () => unknown;

/**
 * Put a method in place of another. Metadata that other decorators set on it go along; those that decorators further up
 * set later are set on the new one.
 *
 * @param decorator names it in messages
 * @throws TypeError unless it decorates a method
 */
export function replaceMethod(
  decorator: string,
  descriptor: PropertyDescriptor | undefined,
  run: (instance: unknown, args: readonly unknown[], call: Call) => unknown,
): void {
  const original = descriptor?.value as unknown;
  if (!descriptor || typeof original !== "function") {
    throw new TypeError(`@${decorator} belongs on a method; it stands on something else.`);
  }
  const method = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
    return await run(this, args, () => original.apply(this, args) as unknown);
  };
  const { prototype: _, ...properties } = Object.getOwnPropertyDescriptors(original) as PropertyDescriptorMap;
  Object.defineProperties(method, properties);
  for (const key of Reflect.getOwnMetadataKeys(original)) {
    Reflect.defineMetadata(key, Reflect.getOwnMetadata(key, original), method);
  }
  descriptor.value = method;
}

/** As messages call it. */
export function methodName(prototype: object, property: string | symbol): string {
  return `${prototype.constructor.name}.${String(property)}`;
}
