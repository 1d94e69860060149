package qtap.jsse;

import java.lang.instrument.Instrumentation;
import java.lang.reflect.Method;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Since Java 9, most of the JDK is closed to classes outside its modules. */
public final class Modules {
    private Modules() {}

    public static boolean exist() {
        try {
            Class.forName("java.lang.Module");
            return true;
        } catch (ClassNotFoundException before9) {
            return false;
        }
    }

    /** Opens packages of the JDK's base module to the module of `to`. */
    public static void open(Instrumentation instrumentation, Class<?> to, Iterable<String> packages) throws Exception {
        Method moduleOf = Class.class.getMethod("getModule");
        Set<Object> ours = Collections.singleton(moduleOf.invoke(to));
        Map<String, Set<Object>> opens = new HashMap<String, Set<Object>>();
        for (String each : packages) {
            opens.put(each, ours);
        }
        Method redefine = Instrumentation.class.getMethod(
                "redefineModule", Class.forName("java.lang.Module"), Set.class, Map.class, Map.class, Set.class, Map.class);
        redefine.invoke(instrumentation, moduleOf.invoke(Object.class), new HashSet<Object>(), opens, opens, new HashSet<Object>(),
                new HashMap<Object, Object>());
    }
}
