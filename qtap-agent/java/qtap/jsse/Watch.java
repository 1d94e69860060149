package qtap.jsse;

import java.io.FileInputStream;
import java.io.IOException;
import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** While qtap lives: JSSE's classes are changed. When it ends, in whatever way, its end of a pipe is closed, and they are what they were. */
public final class Watch implements ClassFileTransformer, Runnable {
    private static boolean isRunning;

    private final Instrumentation instrumentation;
    private FileInputStream life;

    private Watch(Instrumentation instrumentation) {
        this.instrumentation = instrumentation;
    }

    /** Options: this archive's path, the path of the pipe that qtap holds open, the mark in hexadecimal. If another qtap is here, nothing happens. */
    public static synchronized void start(String options, Instrumentation instrumentation) throws Exception {
        if (isRunning) {
            return;
        }
        String[] parts = options.split(",");
        byte[] mark = new byte[parts[2].length() / 2];
        for (int at = 0; at < mark.length; at++) {
            mark[at] = (byte) Integer.parseInt(parts[2].substring(2 * at, 2 * at + 2), 16);
        }
        if (Modules.exist()) {
            Modules.open(instrumentation, Watch.class, Arrays.asList("java.io", "java.net", "sun.nio.ch", "sun.security.ssl"));
        }
        Channel.open(mark);
        Watch watch = new Watch(instrumentation);
        instrumentation.addTransformer(watch, true);
        try {
            watch.change();
            // qtap takes it for the sign that all went well.
            watch.life = new FileInputStream(parts[1]);
            Thread thread = new Thread(watch, "qtap");
            thread.setDaemon(true);
            thread.start();
        } catch (Exception | Error failed) {
            if (watch.life != null) {
                watch.life.close();
            }
            watch.end();
            throw failed;
        }
        isRunning = true;
    }

    /** Waits for qtap's end. */
    @Override
    public void run() {
        try {
            while (life.read() >= 0) {
                // Nothing is written.
            }
            life.close();
        } catch (IOException ended) {
            // As good as an end.
        }
        end();
    }

    private void end() {
        Channel.close();
        instrumentation.removeTransformer(this);
        synchronized (Watch.class) {
            isRunning = false;
        }
        try {
            change();
        } catch (Exception kept) {
            // The calls stay, and return at once.
        }
    }

    /** Has the JVM load the classes again that are loaded already. */
    private void change() throws Exception {
        List<Class<?>> loaded = new ArrayList<Class<?>>();
        for (Class<?> each : instrumentation.getAllLoadedClasses()) {
            if (each.getClassLoader() == null && Method.ALL.containsKey(each.getName().replace('.', '/'))) {
                loaded.add(each);
            }
        }
        if (!loaded.isEmpty()) {
            instrumentation.retransformClasses(loaded.toArray(new Class<?>[0]));
        }
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> changed, ProtectionDomain domain, byte[] file) {
        // The classes of this package pass here too while they are loaded: for them nothing may be asked that needs them.
        if (loader != null || name == null || !name.startsWith("sun/security/ssl/")) {
            return null;
        }
        Map<String, Method> methods = Method.ALL.get(name);
        if (methods == null) {
            return null;
        }
        try {
            return new ClassFile(file).with(methods);
        } catch (IOException | RuntimeException unknown) {
            // Left as it is.
            return null;
        }
    }
}
