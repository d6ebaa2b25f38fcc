/** Style sheets are bundled, and have no names to import. */
declare module "*.css";
